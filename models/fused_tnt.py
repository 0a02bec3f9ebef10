"""The folded TNT, executed operator by operator: words ahead, then the outer stack as a ViT's. Knows no algebra."""

from torch import Tensor

from ..kernels.ops import Tokens
from ..kernels.options import DEFAULT, Options
from ..kernels.reference import normalise
from ..kernels.tnt_ops import add_words, project_words, tnt_inner, word_embed
from .folded_tnt import FoldedTNT
from .fused import FusedViT


class FusedTNT(FusedViT):
    """uint8 pixels (B, H, W, 3) -> logits (B, classes), or features (B, dim) where the network has no head.

    Args:
        graph: folded and lowered, on the device to run on.
        options: passed to every operator. With a workspace, results are overwritten by the next call.
    """

    def __init__(self, graph: FoldedTNT, options: Options = DEFAULT) -> None:
        super().__init__(graph.outer, options)
        self.tnt = graph

    def _encode(self, pixels: Tensor) -> Tokens:  # -> (B, N, D) before the block that is cut, if one is
        additions = self._additions(pixels)
        x, statistics = self._add(self.tnt.table, additions, 0)
        for index, block in enumerate(self.graph.blocks):
            x, statistics = self._add(x, additions, index + 1)
            x, statistics = self._block(x, statistics, block)
        if self.graph.last is not None:
            x, statistics = self._add(x, additions, len(self.graph.blocks) + 1)
        return x, statistics

    def _additions(self, pixels: Tensor) -> Tensor:  # -> (1 + depth, B · P, D), each still to be normalised
        graph, options = self.tnt, self.options
        if not graph.pixels.folded:
            dtype = graph.words.weight.dtype
            pixels = normalise(pixels, graph.pixels.mean, graph.pixels.std, dtype).permute(0, 2, 3, 1)
        words = word_embed(pixels, graph.words, options=options)  # (B, P, W · d)
        rows = tnt_inner(words.flatten(0, 1), graph.inner, options=options)  # (1 + depth, B · P, W · d)
        return project_words(rows, graph.sentences, options=options)

    def _add(self, x: Tensor, additions: Tensor, index: int) -> Tokens:
        return add_words(
            x,
            additions[index].unflatten(0, (-1, self.tnt.config.grid**2)),
            self.tnt.sentence_norms[index],
            statistics=self.graph.layer_norm_folded and index > 0,
            options=self.options,
            name="sentences" if index == 0 else "told",
        )

"""The folded TNT, executed operator by operator: its words, then the outer stack as a ViT's. Knows no algebra."""

from torch import Tensor

from ..kernels.device import gpu_of
from ..kernels.ops import Tokens
from ..kernels.options import DEFAULT, Options
from ..kernels.tnt_ops import add_words
from ..kernels.tuning import tables
from .folded import FoldedViT
from .folded_tnt import FoldedTNT
from .fused import FusedViT
from .tnt_words import Additions, Words

WORDS = "tnt_words"
"""Under this name a GPU's table says, by the number of tokens, whether words run `ahead` or `beside`."""


class FusedTNT(FusedViT):
    """uint8 pixels (B, H, W, 3) -> logits (B, classes), or features (B, dim) where the network has no head.

    Args:
        graph: folded and lowered, on the device to run on.
        options: passed to every operator. With a workspace, results are overwritten by the next call.
        plain: the outer stack with LayerNorms apart, as FusedViT's.
        order: of the words, `ahead` or `beside`, instead of what was measured quicker.
    """

    def __init__(
        self,
        graph: FoldedTNT,
        options: Options = DEFAULT,
        plain: FoldedViT | None = None,
        order: str | None = None,
    ) -> None:
        super().__init__(graph.outer, options, plain)
        self.tnt = graph
        self._words = Words(graph, options)
        self._order = order

    def _encode(self, pixels: Tensor) -> Tokens:  # -> (B, N, D) before the block that is cut, if one is
        additions = self._additions(pixels)
        x, statistics = self._add(self.tnt.table, additions(0), 0)
        for index, block in enumerate(self.graph.blocks):
            x, statistics = self._add(x, additions(index + 1), index + 1)
            x, statistics = self._block(x, statistics, block)
        if self.graph.last is not None:
            last = len(self.graph.blocks) + 1
            x, statistics = self._add(x, additions(last), last)
        return x, statistics

    def _additions(self, pixels: Tensor) -> Additions:
        keeps_buffers = self.options.workspace is not None
        if keeps_buffers and self._quicker_order(pixels) == "beside":
            return self._words.beside(pixels)
        return self._words.ahead(pixels)

    def _quicker_order(self, pixels: Tensor) -> str | None:
        if self._order is not None:
            return self._order
        tokens, dim = self.tnt.table.shape
        dtype = self.tnt.words.weight.dtype
        return tables.choice(gpu_of(pixels.device), WORDS, len(pixels) * tokens, dim, dtype)

    def _add(self, x: Tensor, addition: Tensor, index: int) -> Tokens:
        return add_words(
            x,
            addition,
            self.tnt.sentence_norms[index],
            statistics=self.graph.layer_norm_folded and index > 0,
            options=self.options,
            name="sentences" if index == 0 else "told",
        )

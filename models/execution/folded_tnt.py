"""A TNT's words on their way to the patch tokens: all inner blocks ahead of the outer stack, or in parts beside it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ...kernels.device import gpu_of
from ...kernels.ops import Tokens
from ...kernels.options import DEFAULT, Options
from ...kernels.reference import normalise
from ...kernels.tnt_ops import tnt_add, tnt_embed, tnt_inner, tnt_inner_part, tnt_project
from ...kernels.tuning import tables
from ...kernels.weights import InnerProjectionWeights
from ..folding.graph import FoldedTNT, FoldedViT
from .folded_vit import FusedViT

PART = 3
"""Inner blocks of one launch where they run beside the outer stack."""

Additions = Callable[[int], Tensor]
"""What the words add before any block (0) and before each (1 to depth): -> (B, P, D), still to be normalised."""


class Words:
    """The inner half of a folded TNT.

    Args:
        options: passed to every operator.
    """

    def __init__(self, graph: FoldedTNT, options: Options) -> None:
        self._graph = graph
        self._options = options
        self._patches = graph.config.grid**2
        self._stream: torch.cuda.Stream | None = None

    def ahead(self, pixels: Tensor) -> Additions:  # uint8 (B, H, W, 3)
        """All of it at once: one launch for the inner blocks, one for their products."""
        words = self._embedded(pixels)
        rows = tnt_inner(words.flatten(0, 1), self._graph.inner, options=self._options)  # (1 + depth, B · P, W · d)
        additions = tnt_project(rows, self._graph.sentences, options=self._options)  # (1 + depth, B · P, D)
        return lambda index: additions[index].unflatten(0, (-1, self._patches))

    def beside(self, pixels: Tensor) -> Additions:  # uint8 (B, H, W, 3)
        """In parts on a stream of its own, while the outer stack runs; whoever asks for a part's waits for it.

        Computes bit for bit what `ahead` does with our kernels. Needs buffers that outlive the pass: a workspace.
        """
        parts: list[Tensor] = []
        done: list[torch.cuda.Event] = []
        depth = self._graph.inner.depth
        with self._aside(pixels):
            words = self._embedded(pixels)
            state = words.flatten(0, 1)
            for first in range(0, depth, PART):
                last = min(first + PART, depth)
                state, rows = tnt_inner_part(state, self._graph.inner, first, last, options=self._options)
                weights = _between(self._graph.sentences, first + 1 if first else 0, last + 1)
                made = tnt_project(rows, weights, options=self._options, name=f"additions.{first}")
                parts.append(made)
                if pixels.is_cuda:
                    done.append(torch.cuda.current_stream(pixels.device).record_event())

        def addition(index: int) -> Tensor:
            part = max(0, index - 1) // PART
            if done:
                torch.cuda.current_stream(pixels.device).wait_event(done[part])
            return parts[part][index - (part * PART + 1 if part else 0)].unflatten(0, (-1, self._patches))

        return addition

    def _embedded(self, pixels: Tensor) -> Tensor:  # -> (B, P, W · d)
        graph = self._graph
        if not graph.pixels.folded:
            dtype = graph.words.weight.dtype
            pixels = normalise(pixels, graph.pixels.mean, graph.pixels.std, dtype).permute(0, 2, 3, 1)
        return tnt_embed(pixels, graph.words, options=self._options)

    @contextmanager
    def _aside(self, x: Tensor) -> Iterator[None]:
        """On the second stream, after all that was started before; on a CPU there is one order only."""
        if not x.is_cuda:
            yield
            return
        self._stream = self._stream or torch.cuda.Stream(x.device)
        self._stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(self._stream):
            yield


def _between(weights: InnerProjectionWeights, first: int, last: int) -> InnerProjectionWeights:
    return InnerProjectionWeights(weights.weight[first:last], weights.bias[first:last])


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
        if keeps_buffers and self._quicker_order(pixels) == "overlapped":
            return self._words.beside(pixels)
        return self._words.ahead(pixels)

    def _quicker_order(self, pixels: Tensor) -> str | None:
        if self._order is not None:
            return self._order
        tokens, dim = self.tnt.table.shape
        dtype = self.tnt.words.weight.dtype
        return tables.measured_choice(gpu_of(pixels.device), WORDS, len(pixels) * tokens, dim, dtype)

    def _add(self, x: Tensor, addition: Tensor, index: int) -> Tokens:
        return tnt_add(
            x,
            addition,
            self.tnt.sentence_norms[index],
            return_statistics=self.graph.layer_norm_folded and index > 0,
            options=self.options,
            name="sentences" if index == 0 else "told",
        )

"""Folded TNT: executes a folded graph, its inner blocks ahead of the outer stack or on a second stream beside it."""

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

BLOCKS_PER_LAUNCH = 3
"""Inner blocks per launch where they run beside the outer stack."""
ORDER_KEY = "tnt_words"
"""Key of a GPU's table for the order of the inner blocks, `ahead` or `overlapped`, by the number of tokens."""

Additions = Callable[[int], Tensor]
"""Projected inner tokens that are added before the first block (0) and each block (1 to depth): index -> (B, P, D),
still to be normalised."""


class FusedTNT(FusedViT):
    """uint8 pixels (B, H, W, 3) -> logits (B, classes), or features (B, dim) where the network has no head.

    Args:
        graph: folded and lowered, on the device to run on.
        options: passed to every operator. With a workspace, the next call overwrites the result.
        plain: the outer stack with LayerNorms not folded, as FusedViT's.
        order: of the inner blocks, `ahead` or `overlapped`, overriding the measured table.
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
        self._inner = InnerStack(graph, options)
        self._order = order

    def _encode(self, pixels: Tensor) -> Tokens:  # -> (B, N, D), after all blocks but a cut last one
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
        has_own_buffers = self.options.workspace is not None
        if has_own_buffers and self._fastest_order(pixels) == "overlapped":
            return self._inner.overlapped(pixels)
        return self._inner.ahead(pixels)

    def _fastest_order(self, pixels: Tensor) -> str | None:
        if self._order is not None:
            return self._order
        tokens, dim = self.tnt.table.shape
        dtype = self.tnt.inner_embedding.weight.dtype
        return tables.measured_choice(gpu_of(pixels.device), ORDER_KEY, len(pixels) * tokens, dim, dtype)

    def _add(self, x: Tensor, addition: Tensor, index: int) -> Tokens:
        return tnt_add(
            x,
            addition,
            self.tnt.projection_norms[index],
            return_statistics=self.graph.layer_norm_folded and index > 0,
            options=self.options,
            name="tnt_add.first" if index == 0 else "tnt_add",
        )


class InnerStack:
    """Inner transformer of a folded TNT: sub-patch embedding, inner blocks, projections to patch tokens.

    Args:
        options: passed to every operator.
    """

    def __init__(self, graph: FoldedTNT, options: Options) -> None:
        self._graph = graph
        self._options = options
        self._patches = graph.config.grid**2
        self._stream: torch.cuda.Stream | None = None

    def ahead(self, pixels: Tensor) -> Additions:  # uint8 (B, H, W, 3)
        """Run everything at once: one launch for the inner blocks, one for the projections."""
        inner_tokens = self._embed(pixels)
        inner_tokens = inner_tokens.flatten(0, 1)
        rows = tnt_inner(inner_tokens, self._graph.inner_blocks, options=self._options)  # (1 + L, B · P, W · d)
        additions = tnt_project(rows, self._graph.inner_projections, options=self._options)  # (1 + L, B · P, D)
        return lambda index: additions[index].unflatten(0, (-1, self._patches))

    def overlapped(self, pixels: Tensor) -> Additions:  # uint8 (B, H, W, 3)
        """Run in parts on a second stream, concurrently with the outer stack, which waits for the part it needs.

        Bit-identical to `ahead` with our kernels. Needs buffers that outlive the pass: a workspace.
        """
        parts: list[Tensor] = []
        done: list[torch.cuda.Event] = []
        with self._second_stream(pixels):
            for additions in self._parts(pixels):
                parts.append(additions)
                if pixels.is_cuda:
                    done.append(torch.cuda.current_stream(pixels.device).record_event())

        def addition(index: int) -> Tensor:
            part = max(0, index - 1) // BLOCKS_PER_LAUNCH
            if done:
                torch.cuda.current_stream(pixels.device).wait_event(done[part])
            first = part * BLOCKS_PER_LAUNCH + 1 if part else 0
            return parts[part][index - first].unflatten(0, (-1, self._patches))

        return addition

    def _parts(self, pixels: Tensor) -> Iterator[Tensor]:
        """Additions of BLOCKS_PER_LAUNCH inner blocks, each (blocks, B · P, D); the first part has index 0 as well."""
        inner, projections = self._graph.inner_blocks, self._graph.inner_projections
        state = self._embed(pixels).flatten(0, 1)
        for first in range(0, inner.depth, BLOCKS_PER_LAUNCH):
            last = min(first + BLOCKS_PER_LAUNCH, inner.depth)
            state, rows = tnt_inner_part(state, inner, first, last, options=self._options)
            start = first + 1 if first else 0
            weights = InnerProjectionWeights(projections.weight[start : last + 1], projections.bias[start : last + 1])
            yield tnt_project(rows, weights, options=self._options, name=f"additions.{first}")

    def _embed(self, pixels: Tensor) -> Tensor:  # -> (B, P, W · d)
        graph = self._graph
        if not graph.pixels.folded:
            dtype = graph.inner_embedding.weight.dtype
            pixels = normalise(pixels, graph.pixels.mean, graph.pixels.std, dtype).permute(0, 2, 3, 1)
        return tnt_embed(pixels, graph.inner_embedding, options=self._options)

    @contextmanager
    def _second_stream(self, x: Tensor) -> Iterator[None]:
        """Context manager: run on the second stream, after all work queued so far; on a CPU in order."""
        if not x.is_cuda:
            yield
            return
        self._stream = self._stream or torch.cuda.Stream(x.device)
        self._stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(self._stream):
            yield

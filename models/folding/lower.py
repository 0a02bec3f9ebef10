"""Lowering of a folded float64 graph to the dtype and device that run it.

The shift of the pixels and the row sums for LayerNorm are computed from the rounded weights: computed from the exact
ones, they would double the error.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...kernels.reference import accumulation_dtype
from ...kernels.weights import (
    MATRICES,
    VECTORS,
    AbsorbedAttention,
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    LinearWeights,
    NormWeights,
    PatchWeights,
    pack_inner,
)
from .graph import BlockWeights, FoldedTNT, FoldedViT, LastBlockWeights


@dataclass(frozen=True, slots=True)
class Lowering:
    """Rounding of matrices to `dtype` and of vectors to float32 (float64 for float64), and their move to `device`."""

    dtype: torch.dtype
    device: torch.device

    def graph(self, x: FoldedViT) -> FoldedViT:
        """Lowered graph of a ViT."""
        return replace(
            x,
            pixels=replace(x.pixels, mean=self.vector(x.pixels.mean), std=self.vector(x.pixels.std)),
            patches=self.patches(x),
            input_norm=x.input_norm and self.norm(x.input_norm),
            blocks=tuple(self.block(block) for block in x.blocks),
            last=x.last and self.last_block(x.last),
            norm=self.norm(x.norm),
            heads=tuple(self.linear(head) for head in x.heads),
        )

    def patches(self, x: FoldedViT) -> PatchWeights:
        """Lowered patch projection; its table takes up the shift of folded pixels."""
        table = x.patches.table
        if x.pixels.folded:
            shift = (255 * x.pixels.mean).repeat(x.patches.patch_size**2)
            table = table.clone()
            table[x.patches.prefix :] -= x.patches.weight.to(self.dtype).double() @ shift
        return replace(x.patches, weight=self.matrix(x.patches.weight), table=self.vector(table))

    def block(self, x: BlockWeights) -> BlockWeights:
        return BlockWeights(
            qkv=self.linear(x.qkv),
            projection=self.linear(x.projection),
            expand=self.linear(x.expand),
            contract=self.linear(x.contract),
            query_norm=x.query_norm and self.norm(x.query_norm),
            key_norm=x.key_norm and self.norm(x.key_norm),
        )

    def last_block(self, x: LastBlockWeights) -> LastBlockWeights:
        return LastBlockWeights(
            query=self.linear(x.query),
            key=self.matrix(x.key),
            value=self.matrix(x.value),
            projection=self.linear(x.projection),
            expand=self.linear(x.expand),
            contract=self.linear(x.contract),
            norm=self.norm(x.norm),
        )

    def linear(self, x: LinearWeights) -> LinearWeights:
        """Lowered linear layer; row sums are those of the rounded weight."""
        return replace(
            x,
            weight=self.matrix(x.weight),
            bias=None if x.bias is None else self.vector(x.bias),
            norm=x.norm and self.norm(x.norm),
            sums=None if x.sums is None else self.vector(x.weight.to(self.dtype).double().sum(dim=1)),
            scale=None if x.scale is None else self.vector(x.scale),
        )

    def norm(self, x: NormWeights) -> NormWeights:
        return replace(x, weight=self.vector(x.weight), bias=self.vector(x.bias))

    def vector(self, x: Tensor) -> Tensor:
        return x.to(self.device, accumulation_dtype(self.dtype)).contiguous()

    def matrix(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype).contiguous()


def lower_tnt(to: Lowering, x: FoldedTNT) -> FoldedTNT:
    """Lowered graph of a TNT."""
    return replace(
        x,
        pixels=replace(x.pixels, mean=to.vector(x.pixels.mean), std=to.vector(x.pixels.std)),
        inner_embedding=_inner_embedding(to, x),
        inner_blocks=_inner_blocks(to, x.inner_blocks),
        inner_projections=InnerProjectionWeights(
            to.matrix(x.inner_projections.weight), to.vector(x.inner_projections.bias)
        ),
        projection_norms=tuple(norm and to.norm(norm) for norm in x.projection_norms),
        table=to.vector(x.table),
        outer=to.graph(x.outer),
    )


def _inner_embedding(to: Lowering, x: FoldedTNT) -> InnerEmbedWeights:
    table = x.inner_embedding.table
    if x.pixels.folded:
        rounded = x.inner_embedding.weight.to(to.dtype).double()
        table = table - (image_mask(x.inner_embedding, x.config.grid) * (255 * x.pixels.mean)).flatten(1) @ rounded.T
    return replace(x.inner_embedding, weight=to.matrix(x.inner_embedding.weight), table=to.vector(table))


def image_mask(embedding: InnerEmbedWeights, grid: int) -> Tensor:
    """Image mask of each patch's window: 1 for pixels inside the image, 0 outside, float64 (P, window², 1).

    Outside it the convolution pads the normalised image with zeros, which have no mean to subtract.
    """
    patch_size, window = embedding.patch_size, torch.arange(embedding.window)
    positions = torch.arange(grid)[:, None] * patch_size - embedding.margin + window
    inside = (positions >= 0) & (positions < grid * patch_size)  # (grid, window)
    both = inside[:, None, :, None] & inside[None, :, None, :]  # (rows, columns, y, x)
    return both.flatten(2).flatten(0, 1).double()[..., None]


def _inner_blocks(to: Lowering, x: InnerWeights) -> InnerWeights:
    lowered: dict[str, Any] = {name: to.matrix(getattr(x, name)) for name in MATRICES}
    lowered |= {name: to.vector(getattr(x, name)) for name in VECTORS}
    if x.absorbed is not None:
        lowered["absorbed"] = AbsorbedAttention(
            query=to.matrix(x.absorbed.query),
            query_bias=to.vector(x.absorbed.query_bias),
            output=to.matrix(x.absorbed.output),
        )
    rounded = replace(x, **lowered)
    return replace(rounded, packed=pack_inner(rounded))

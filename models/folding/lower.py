"""Lowering of a folded float64 graph to the dtype that runs it. No torch.

The shift of the pixels and the row sums for LayerNorm are computed from the rounded weights: computed from the exact
ones, they would double the error.
"""

from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

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
)
from .graph import Array, BlockWeights, FoldedTNT, FoldedViT, LastBlockWeights

DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


@dataclass(frozen=True, slots=True)
class Lowering:
    """Rounding of matrices to `dtype`, a key of DTYPES, and of vectors to float32 (float64 for float64)."""

    dtype: str

    def graph(self, x: FoldedViT[Array]) -> FoldedViT[Array]:
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

    def patches(self, x: FoldedViT[Array]) -> PatchWeights[Array]:
        """Lowered patch projection; its table takes up the shift of folded pixels."""
        table = x.patches.table
        if x.pixels.folded:
            shift = np.tile(255 * x.pixels.mean, x.patches.patch_size**2)
            table = table.copy()
            table[x.patches.prefix :] -= self.rounded(x.patches.weight) @ shift
        return replace(x.patches, weight=self.matrix(x.patches.weight), table=self.vector(table))

    def block(self, x: BlockWeights[Array]) -> BlockWeights[Array]:
        return BlockWeights(
            qkv=self.linear(x.qkv),
            projection=self.linear(x.projection),
            expand=self.linear(x.expand),
            contract=self.linear(x.contract),
            query_norm=x.query_norm and self.norm(x.query_norm),
            key_norm=x.key_norm and self.norm(x.key_norm),
        )

    def last_block(self, x: LastBlockWeights[Array]) -> LastBlockWeights[Array]:
        return LastBlockWeights(
            query=self.linear(x.query),
            key=self.matrix(x.key),
            value=self.matrix(x.value),
            projection=self.linear(x.projection),
            expand=self.linear(x.expand),
            contract=self.linear(x.contract),
            norm=self.norm(x.norm),
        )

    def linear(self, x: LinearWeights[Array]) -> LinearWeights[Array]:
        """Lowered linear layer; row sums are those of the rounded weight."""
        return replace(
            x,
            weight=self.matrix(x.weight),
            bias=None if x.bias is None else self.vector(x.bias),
            norm=x.norm and self.norm(x.norm),
            sums=None if x.sums is None else self.vector(self.rounded(x.weight).sum(axis=1)),
            scale=None if x.scale is None else self.vector(x.scale),
        )

    def norm(self, x: NormWeights[Array]) -> NormWeights[Array]:
        return replace(x, weight=self.vector(x.weight), bias=self.vector(x.bias))

    def vector(self, x: Array) -> Array:
        return np.ascontiguousarray(x, np.float64 if self.dtype == "float64" else np.float32)

    def matrix(self, x: Array) -> Array:
        return np.ascontiguousarray(round_to(x, self.dtype))

    def rounded(self, x: Array) -> Array:
        """Values of a matrix after rounding, in float64."""
        return round_to(x, self.dtype).astype(np.float64)


def round_to(x: Array, dtype: str) -> Array:
    """Values rounded to a key of DTYPES, to 16 bits by way of float32: bit-identical to PyTorch."""
    return x if dtype == "float64" else x.astype(np.float32).astype(DTYPES[dtype], copy=False)


def lower_tnt(to: Lowering, x: FoldedTNT[Array]) -> FoldedTNT[Array]:
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


def _inner_embedding(to: Lowering, x: FoldedTNT[Array]) -> InnerEmbedWeights[Array]:
    table = x.inner_embedding.table
    if x.pixels.folded:
        shift = image_mask(x.inner_embedding, x.config.grid) * (255 * x.pixels.mean)
        table = table - shift.reshape(len(shift), -1) @ to.rounded(x.inner_embedding.weight).T
    return replace(x.inner_embedding, weight=to.matrix(x.inner_embedding.weight), table=to.vector(table))


def image_mask(embedding: InnerEmbedWeights[Array], grid: int) -> Array:
    """Image mask of each patch's window: 1 for pixels inside the image, 0 outside, float64 (P, window², 1).

    Outside it the convolution pads the normalised image with zeros, which have no mean to subtract.
    """
    patch_size, window = embedding.patch_size, embedding.window
    positions = np.arange(grid)[:, None] * patch_size - embedding.margin + np.arange(window)
    inside = (positions >= 0) & (positions < grid * patch_size)  # (grid, window)
    both = inside[:, None, :, None] & inside[None, :, None, :]  # (rows, columns, y, x)
    return both.reshape(grid**2, window**2, 1).astype(np.float64)


def _inner_blocks(to: Lowering, x: InnerWeights[Array]) -> InnerWeights[Array]:
    lowered: dict[str, Any] = {name: to.matrix(getattr(x, name)) for name in MATRICES}
    lowered |= {name: to.vector(getattr(x, name)) for name in VECTORS}
    if x.absorbed is not None:
        lowered["absorbed"] = AbsorbedAttention(
            query=to.matrix(x.absorbed.query),
            query_bias=to.vector(x.absorbed.query_bias),
            output=to.matrix(x.absorbed.output),
        )
    return replace(x, **lowered)

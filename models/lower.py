"""A folded graph in float64 -> the one that runs: rounded, and with what depends on rounded weights taken from those.

That is the shift of the pixels and the row sums for LayerNorm: taken from the exact weights, both would leave twice
the error.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..kernels.reference import wide
from ..kernels.weights import LinearWeights, NormWeights, PatchWeights
from .folded import BlockWeights, FoldedViT, LastBlockWeights


@dataclass(frozen=True, slots=True)
class Lowering:
    """Rounds matrices to `dtype` and vectors to float32 (float64 for float64), and moves them to `device`."""

    dtype: torch.dtype
    device: torch.device

    def graph(self, x: FoldedViT) -> FoldedViT:
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
        return x.to(self.device, wide(self.dtype)).contiguous()

    def matrix(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype).contiguous()

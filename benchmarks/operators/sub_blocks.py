"""Sub-blocks of a transformer block, attention and MLP, with random weights and inputs, for tuning and benchmarks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...kernels.block_ops import fused_qkv_attention, layernorm_mlp
from ...kernels.ops import compute_row_statistics
from ...kernels.options import Options, Workspace
from ...kernels.weights import LinearWeights, NormWeights
from ...models.config import ViTConfig

Dtype = torch.dtype
COMPOSITES = ("fused_qkv_attention", "layernorm_mlp")


@dataclass(frozen=True, slots=True)
class SubBlock:
    """Attention or MLP sub-block of one block, called as one composite operator.

    Attributes:
        x: input (B, N, dim).
        folded: weights of its two products, the LayerNorm folded into the first.
        unfolded: the same with a separate LayerNorm, as published.
    """

    composite: str
    config: ViTConfig
    x: Tensor
    folded: tuple[LinearWeights, LinearWeights]
    unfolded: tuple[LinearWeights, LinearWeights]

    @property
    def name(self) -> str:
        return self.composite

    @property
    def batch(self) -> int:
        return len(self.x)

    @property
    def dtype(self) -> Dtype:
        return self.x.dtype

    def triton(self, *, batch_invariant: bool = False, workspace: bool = True) -> Callable[[], Tensor]:
        """Run with the Triton kernels, with row statistics in and out as within a network."""
        buffers = Workspace() if workspace else None
        options = Options("triton", batch_invariant=batch_invariant, workspace=buffers)
        statistics = compute_row_statistics(self.x.flatten(0, 1), options=replace(options, workspace=None))
        return lambda: self._run(self.x, self.folded, statistics, options)

    def torch(self) -> Callable[[], Tensor]:
        """Run with PyTorch: LayerNorm, cuBLAS, SDPA, GELU, addition."""
        return lambda: self._run(self.x, self.unfolded, None, Options("torch"))

    def reference(self) -> Tensor:
        """Result in float64, from the same rounded inputs and weights."""
        layers = _double(self.unfolded[0]), _double(self.unfolded[1])
        return self._run(self.x.double(), layers, None, Options("torch"))

    def macs(self) -> int:
        """Multiply-accumulates as published."""
        rows, dim = self.x.shape[0] * self.x.shape[1], self.x.shape[2]
        products = sum(layer.weight.numel() for layer in self.unfolded) * rows
        return products + (2 * rows * self.x.shape[1] * dim if self.composite == COMPOSITES[0] else 0)

    def bytes(self) -> int:
        """Minimum memory traffic: weights, input and output."""
        return 2 * self.x.nbytes + sum(layer.weight.nbytes for layer in self.unfolded)

    def _run(
        self, x: Tensor, layers: tuple[LinearWeights, LinearWeights], statistics: Tensor | None, options: Options
    ) -> Tensor:
        with_statistics, (first, second) = options.implementation == "triton", layers
        if self.composite == COMPOSITES[0]:
            return fused_qkv_attention(
                x,
                first,
                second,
                self.config.heads,
                row_statistics=statistics,
                return_statistics=with_statistics,
                options=options,
            )[0]
        return layernorm_mlp(
            x.flatten(0, 1),
            first,
            second,
            activation=self.config.feedforward,
            row_statistics=statistics,
            return_statistics=with_statistics,
            options=options,
        )[0].view_as(x)


def make(composite: str, config: ViTConfig, batch: int, dtype: torch.dtype, device: torch.device) -> SubBlock:
    """Sub-block of this network, with random weights of the magnitude of trained ones."""
    dim, hidden = config.dim, config.mlp_dim
    x = torch.randn(batch, config.tokens, dim, device=device).to(dtype)
    out = 3 * dim if composite == COMPOSITES[0] else hidden
    depth = dim if composite == COMPOSITES[0] else hidden // (2 if config.feedforward == "swiglu" else 1)
    first = (torch.randn(out, dim, device=device) / dim**0.5).to(dtype)
    second = LinearWeights((torch.randn(dim, depth, device=device) / depth**0.5).to(dtype), _vector(dim, device))
    bias = _vector(out, device)
    norm = NormWeights(torch.ones(dim, device=device), torch.zeros(dim, device=device), config.norm_eps)
    folded = LinearWeights(first, bias, sums=first.float().sum(dim=1), eps=config.norm_eps)
    unfolded = LinearWeights(first, bias, norm=norm)
    return SubBlock(composite, config, x, (folded, second), (_rounded(unfolded, dtype), _rounded(second, dtype)))


def _vector(length: int, device: torch.device) -> Tensor:
    return torch.randn(length, device=device) * 0.1


def _rounded(layer: LinearWeights, dtype: torch.dtype) -> LinearWeights:
    """Layer with bias and LayerNorm in the product's dtype, as cuBLAS requires."""
    assert layer.bias is not None
    norm = layer.norm and replace(layer.norm, weight=layer.norm.weight.to(dtype), bias=layer.norm.bias.to(dtype))
    return replace(layer, bias=layer.bias.to(dtype), norm=norm)


def _double(layer: LinearWeights) -> LinearWeights:
    assert layer.bias is not None
    norm = layer.norm and replace(layer.norm, weight=layer.norm.weight.double(), bias=layer.norm.bias.double())
    return replace(layer, weight=layer.weight.double(), bias=layer.bias.double(), norm=norm)

"""Sub-blocks against their definition in plain PyTorch, with separate and with folded LayerNorms."""

import pytest
import torch
import torch.nn.functional as F

from tessella.kernels import reference
from tessella.kernels.block_ops import fused_qkv_attention, layernorm_mlp
from tessella.kernels.options import Options
from tessella.kernels.weights import LinearWeights, NormWeights

from ..support.operators import TORCH, TRITON

NORM = NormWeights(torch.rand(16) + 0.5, torch.randn(16), 1e-6)


def layer(columns: int, depth: int, *, folded: bool | None = None) -> LinearWeights:
    """A linear layer without LayerNorm, with NORM in front of it, or with NORM folded."""
    weight, bias = torch.randn(columns, depth) / depth**0.5, torch.randn(columns)
    if folded is None:
        return LinearWeights(weight, bias)
    if not folded:
        return LinearWeights(weight, bias, norm=NORM)
    scaled = weight * NORM.weight
    return LinearWeights(scaled, bias + weight @ NORM.bias, sums=scaled.sum(dim=1), eps=NORM.eps)


def normalised_linear(x: torch.Tensor, weights: LinearWeights) -> torch.Tensor:
    separate = weights.norm is not None
    y = F.layer_norm(x, (16,), NORM.weight if separate else None, NORM.bias if separate else None, NORM.eps)
    return F.linear(y, weights.weight, weights.bias)


@pytest.mark.parametrize("options", [TRITON, TORCH], ids=["triton", "torch"])
@pytest.mark.parametrize("folded", [True, False], ids=["folded", "separate"])
def test_attention_sub_block(folded: bool, options: Options) -> None:
    x, qkv, projection = torch.randn(2, 5, 16), layer(48, 16, folded=folded), layer(16, 16)
    result, statistics = fused_qkv_attention(x, qkv, projection, 2, return_statistics=True, options=options)
    values = reference.attention(normalised_linear(x, qkv), 2)
    expected = x + F.linear(values, projection.weight, projection.bias)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)
    assert statistics is not None
    torch.testing.assert_close(
        reference.mean_and_rstd(statistics, 16, 1e-6)[0], expected.mean(dim=2).flatten(), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("options", [TRITON, TORCH], ids=["triton", "torch"])
@pytest.mark.parametrize("folded", [True, False], ids=["folded", "separate"])
def test_mlp_sub_block(folded: bool, options: Options) -> None:
    x, expand, contract = torch.randn(7, 16), layer(32, 16, folded=folded), layer(16, 32)
    result, _ = layernorm_mlp(x, expand, contract, options=options)
    expected = x + F.linear(F.gelu(normalised_linear(x, expand)), contract.weight, contract.bias)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)

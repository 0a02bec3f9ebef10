"""Operators: LayerNorm and LayerScale that are not folded, pixels that are already normalised, checked arguments."""

import pytest
import torch

from tessella.kernels import ops, reference
from tessella.kernels.options import Options
from tessella.kernels.weights import LinearWeights, NormWeights, PatchWeights

from ..support.operators import TORCH, TRITON

PATCHES = PatchWeights(torch.randn(16, 8 * 8 * 3) / 14, torch.randn(5, 16), 8, 1)


def test_separate_layer_norm_and_layer_scale() -> None:
    x = torch.randn(6, 16)
    norm = NormWeights(torch.rand(16) + 0.5, torch.randn(16), 1e-5)
    weights = LinearWeights(torch.randn(8, 16), torch.randn(8), norm=norm, scale=torch.randn(8))
    residual = torch.randn(6, 8)
    results = [ops.linear(x, weights, residual=residual, options=Options(kind))[0] for kind in ("triton", "torch")]
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


def test_missing_row_statistics_are_computed() -> None:
    x, weight = torch.randn(6, 16), torch.randn(8, 16)
    weights = LinearWeights(weight, None, sums=weight.sum(dim=1), eps=1e-6)
    expected = ops.linear(x, weights, row_statistics=reference.row_statistics(x), options=TORCH)[0]
    torch.testing.assert_close(ops.linear(x, weights, options=TORCH)[0], expected)


def test_normalised_pixels_run_in_pytorch() -> None:
    pixels = torch.randn(2, 16, 16, 3)
    tokens, statistics = ops.patch_embed(pixels, PATCHES, return_statistics=True, options=TRITON)
    torch.testing.assert_close(tokens, reference.patch_embed(pixels, PATCHES.weight, PATCHES.table, 8, 1))
    torch.testing.assert_close(statistics, reference.row_statistics(tokens.flatten(0, 1)))


def test_arguments_of_patch_embed() -> None:
    pixels = torch.zeros(3, 16, 16, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"pixels must be \(B × H × W × 3\), not \(3 × 3 × 16 × 16\)"):
        ops.patch_embed(pixels.permute(0, 3, 1, 2), PATCHES)
    with pytest.raises(ValueError, match=r"patch_size \(8\) must be positive and divide the image's height \(15\)"):
        ops.patch_embed(pixels[:, :15], PATCHES)
    with pytest.raises(ValueError, match=r"table must be \(3 × 16\), not \(5 × 16\)"):
        ops.patch_embed(pixels[:, :8], PATCHES)
    with pytest.raises(ValueError, match="pixels must be uint8 or float32, not int64"):
        ops.patch_embed(pixels.long(), PATCHES)


def test_arguments_of_linear() -> None:
    with pytest.raises(ValueError, match=r"width must be divisible by 4; use the torch implementation"):
        ops.linear(torch.randn(4, 10), LinearWeights(torch.randn(8, 10)), options=TRITON)
    with pytest.raises(ValueError, match="float64"):
        ops.linear(torch.randn(4, 8).double(), LinearWeights(torch.randn(8, 8).double()), options=TRITON)
    with pytest.raises(ValueError, match=r"weight must be \(O × 8\), not \(8 × 12\)"):
        ops.linear(torch.randn(4, 8), LinearWeights(torch.randn(8, 12)))
    with pytest.raises(ValueError, match="tanh_gelu"):
        ops.linear(torch.randn(4, 8), LinearWeights(torch.randn(8, 8)), activation="tanh_gelu")
    with pytest.raises(ValueError, match=r"residual must be \(4 × 4\), not \(4 × 8\)"):
        ops.linear(torch.randn(4, 8), LinearWeights(torch.randn(8, 8)), activation="swiglu", residual=torch.randn(4, 8))


def test_arguments_of_attention() -> None:
    with pytest.raises(ValueError, match=r"3 · heads \(21\) must be positive and divide the channels of qkv \(48\)"):
        ops.attention(torch.randn(1, 4, 48), 7)
    with pytest.raises(ValueError, match="come together: pass both or none"):
        ops.attention(torch.randn(1, 4, 48), 2, NormWeights(torch.ones(8), torch.zeros(8), 1e-6))


@pytest.mark.parametrize("prefix", [-1, 4])
def test_a_mean_needs_tokens(prefix: int) -> None:
    with pytest.raises(ValueError, match=rf"prefix \({prefix}\) must be at least 0 and less than the 4 tokens"):
        ops.mean_pool(torch.randn(1, 4, 8), prefix)

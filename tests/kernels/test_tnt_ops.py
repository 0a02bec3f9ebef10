"""TNT's operators: forms of running the inner blocks agree; arguments that do not fit are named."""

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.options import Options
from tessella.kernels.weights import InnerEmbedWeights, InnerProjectionWeights

from ..support.operators import TORCH, TRITON, random_inner_weights


@pytest.mark.parametrize("options", [TRITON, TORCH], ids=["triton", "torch"])
def test_one_launch_per_block_gives_the_same(options: Options) -> None:
    weights, x = random_inner_weights(24, 4, 96, depth=3), torch.randn(3, 384)
    expected = tnt_ops.tnt_inner(x, weights, options=options)
    for index in range(3):
        x, row = tnt_ops.tnt_inner_block(x, weights, index, options=options)
        torch.testing.assert_close(row, expected[1 + index], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [TRITON, TORCH], ids=["triton", "torch"])
def test_blocks_in_parts_give_the_same(options: Options) -> None:
    weights, x = random_inner_weights(24, 4, 96, depth=3), torch.randn(3, 384)
    expected = tnt_ops.tnt_inner(x, weights, options=options)
    state, first = tnt_ops.tnt_inner_part(x, weights, 0, 2, options=options)
    _, second = tnt_ops.tnt_inner_part(state, weights, 2, 3, options=options)
    torch.testing.assert_close(torch.cat([first, second]), expected, atol=1e-5, rtol=1e-5)


def test_inputs_of_inner_blocks_are_checked() -> None:
    weights = random_inner_weights(24, 4, 96)
    with pytest.raises(
        ValueError, match="takes 16, 32, 64, … inner tokens per patch, not 9; use the torch implementation"
    ):
        tnt_ops.tnt_inner(torch.randn(2, 9 * 24), weights, options=TRITON)
    with pytest.raises(ValueError, match=r"the weights' width \(24\) must be positive and divide .* \(100\)"):
        tnt_ops.tnt_inner(torch.randn(2, 100), weights)
    with pytest.raises(ValueError, match="qkv must have x's dtype, float16, not float32"):
        tnt_ops.tnt_inner(torch.randn(2, 384).half(), weights)


def test_inputs_of_the_other_operators_are_checked() -> None:
    embed = InnerEmbedWeights(torch.randn(20, 13 * 13 * 3), torch.randn(6, 20), 8, 3, 13)
    with pytest.raises(ValueError, match=r"table must be \(4 × 20\), not \(6 × 20\)"):
        tnt_ops.tnt_embed(torch.zeros(1, 16, 16, 3, dtype=torch.uint8), embed)
    projection = InnerProjectionWeights(torch.randn(3, 8, 32), torch.randn(3, 8))
    with pytest.raises(ValueError, match=r"weight must be \(2 × D × 32\), not \(3 × 8 × 32\)"):
        tnt_ops.tnt_project(torch.randn(2, 5, 32), projection)
    with pytest.raises(ValueError, match="x has 4 tokens, fewer than the 5 rows to add to them"):
        tnt_ops.tnt_add(torch.randn(4, 8), torch.randn(2, 5, 8), None)

"""`tnt_embed` in Triton's interpreter against float64: windows with a margin, and windows of the patch's size."""

from dataclasses import replace

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.weights import InnerEmbedWeights

from ...support.operators import TORCH, TRITON, error


@pytest.mark.parametrize(("size", "margin", "window"), [(16, 3, 19), (8, 3, 13), (8, 0, 8)])
def test_tnt_embed(size: int, margin: int, window: int) -> None:
    pixels = torch.randint(0, 256, (2, 3 * size, 2 * size, 3), dtype=torch.uint8)
    weights = InnerEmbedWeights(torch.randn(20, window**2 * 3) / 255, torch.randn(6, 20), size, margin, window)
    wide = replace(weights, weight=weights.weight.double(), table=weights.table.double())
    result = tnt_ops.tnt_embed(pixels, weights, options=TRITON)
    assert error(result, tnt_ops.tnt_embed(pixels, wide, options=TORCH)) < 2e-6

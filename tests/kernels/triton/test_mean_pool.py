"""`mean_pool` in Triton's interpreter against float64."""

import pytest
import torch

from tessella.kernels import ops, reference

from ...support.operators import TORCH, TRITON


@pytest.mark.parametrize("raw", [True, False], ids=["row statistics", "normalised"])
@pytest.mark.parametrize("prefix", [0, 2])
def test_mean_pool(raw: bool, prefix: int) -> None:
    x = torch.randn(3, 37, 40) * 2 + 3
    statistics = reference.row_statistics(x.flatten(0, 1)) if raw else None
    wide = None if statistics is None else statistics.double()
    result = ops.mean_pool(x, prefix, statistics, eps=1e-6, options=TRITON)
    assert (result - ops.mean_pool(x.double(), prefix, wide, eps=1e-6, options=TORCH)).abs().max() < 1e-5

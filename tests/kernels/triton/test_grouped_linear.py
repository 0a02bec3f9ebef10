"""`grouped_linear` in Triton's interpreter against float64."""

import pytest
import torch

from tessella.kernels import ops

from ...support.operators import TORCH, TRITON, error


@pytest.mark.parametrize(("rows", "groups", "columns", "depth"), [(1, 3, 48, 16), (17, 2, 16, 50), (5, 4, 6, 24)])
def test_grouped_linear(rows: int, groups: int, columns: int, depth: int) -> None:
    x, weight = torch.randn(rows, groups, depth), torch.randn(groups, columns, depth)
    result = ops.grouped_linear(x, weight, options=TRITON)
    assert error(result, ops.grouped_linear(x.double(), weight.double(), options=TORCH)) < 2e-6

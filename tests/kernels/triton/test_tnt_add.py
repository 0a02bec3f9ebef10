"""`tnt_add` in Triton's interpreter against float64."""

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.reference import row_statistics
from tessella.kernels.weights import NormWeights

from ...support.operators import TORCH, TRITON, error


@pytest.mark.parametrize("table", [True, False], ids=["table", "tokens"])
@pytest.mark.parametrize("normed", [True, False])
def test_tnt_add(table: bool, normed: bool) -> None:
    x = torch.randn(10, 40) if table else torch.randn(3, 10, 40)
    rows = torch.randn(3, 9, 40) * 3 + 2
    norm = NormWeights(torch.rand(40) + 0.5, torch.randn(40), 1e-5) if normed else None
    wide = NormWeights(norm.weight.double(), norm.bias.double(), 1e-5) if norm else None
    result, statistics = tnt_ops.tnt_add(x, rows, norm, return_statistics=True, options=TRITON)
    assert error(result, tnt_ops.tnt_add(x.double(), rows.double(), wide, options=TORCH)[0]) < 2e-6
    torch.testing.assert_close(statistics, row_statistics(result.flatten(0, 1)), atol=1e-4, rtol=1e-5)

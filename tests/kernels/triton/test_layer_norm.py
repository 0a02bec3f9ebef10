"""`layer_norm` and `compute_row_statistics` in Triton's interpreter against float64."""

import pytest
import torch

from tessella.kernels import ops, reference
from tessella.kernels.weights import NormWeights

from ...support.operators import TRITON, error


@pytest.mark.parametrize(("rows", "dim"), [(1, 8), (7, 24), (33, 100)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_layer_norm_and_row_statistics(rows: int, dim: int, dtype: torch.dtype) -> None:
    x = (torch.randn(rows, dim) * 3 + 2).to(dtype)
    norm = NormWeights(torch.rand(dim) + 0.5, torch.randn(dim), 1e-6)
    result, statistics = ops.layer_norm(x, norm, return_statistics=True, options=TRITON)
    expected = torch.nn.functional.layer_norm(x.double(), (dim,), norm.weight.double(), norm.bias.double(), 1e-6)
    assert error(result, expected) < (2e-6 if dtype == torch.float32 else 1.5e-3)
    torch.testing.assert_close(statistics, reference.row_statistics(result), atol=1e-4, rtol=1e-5)
    statistics = ops.compute_row_statistics(x, options=TRITON)
    torch.testing.assert_close(statistics, reference.row_statistics(x), atol=1e-4, rtol=1e-5)

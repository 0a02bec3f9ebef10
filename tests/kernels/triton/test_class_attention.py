"""`class_attention` in Triton's interpreter against float64."""

import pytest
import torch

from tessella.kernels import ops, reference

from ...support.operators import TORCH, TRITON, error


@pytest.mark.parametrize("tokens", [1, 5, 37])
@pytest.mark.parametrize("queries", [3, 18])
@pytest.mark.parametrize("raw", [True, False], ids=["row statistics", "normalised"])
def test_class_attention(tokens: int, queries: int, raw: bool) -> None:
    x, q = torch.randn(3, tokens, 40) * 2 + 3, torch.randn(3, queries, 40)
    statistics = reference.row_statistics(x.flatten(0, 1)) if raw else None
    wide = reference.row_statistics(x.flatten(0, 1).double()) if raw else None
    result = ops.class_attention(q, x, statistics, eps=1e-6, scale=0.2, options=TRITON)
    expected = ops.class_attention(q.double(), x.double(), wide, eps=1e-6, scale=0.2, options=TORCH)
    assert error(result, expected) < 1e-5

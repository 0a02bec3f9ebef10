"""The smaller operators in Triton's interpreter, against float64 or the reference."""

import pytest
import torch

from tessella.kernels import ops, reference
from tessella.kernels.options import Options
from tessella.kernels.weights import NormWeights

TRITON, TORCH = Options(implementation="triton"), Options(implementation="torch")


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(("rows", "groups", "columns", "depth"), [(1, 3, 48, 16), (17, 2, 16, 50), (5, 4, 6, 24)])
def test_grouped_linear(rows: int, groups: int, columns: int, depth: int) -> None:
    x, weight = torch.randn(rows, groups, depth), torch.randn(groups, columns, depth)
    found = ops.grouped_linear(x, weight, options=TRITON)
    assert error(found, ops.grouped_linear(x.double(), weight.double(), options=TORCH)) < 2e-6


@pytest.mark.parametrize("tokens", [1, 5, 37])
@pytest.mark.parametrize("queries", [3, 18])
@pytest.mark.parametrize("raw", [True, False], ids=["row statistics", "normalised"])
def test_class_attention(tokens: int, queries: int, raw: bool) -> None:
    x, q = torch.randn(3, tokens, 40) * 2 + 3, torch.randn(3, queries, 40)
    statistics = reference.row_statistics(x.flatten(0, 1)) if raw else None
    wide = reference.row_statistics(x.flatten(0, 1).double()) if raw else None
    found = ops.class_attention(q, x, statistics, eps=1e-6, scale=0.2, options=TRITON)
    assert error(found, ops.class_attention(q.double(), x.double(), wide, eps=1e-6, scale=0.2, options=TORCH)) < 1e-5


@pytest.mark.parametrize(("rows", "dim"), [(1, 8), (7, 24), (33, 100)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_layer_norm_and_statistics(rows: int, dim: int, dtype: torch.dtype) -> None:
    x = (torch.randn(rows, dim) * 3 + 2).to(dtype)
    norm = NormWeights(torch.rand(dim) + 0.5, torch.randn(dim), 1e-6)
    found, statistics = ops.layer_norm(x, norm, return_statistics=True, options=TRITON)
    expected = torch.nn.functional.layer_norm(x.double(), (dim,), norm.weight.double(), norm.bias.double(), 1e-6)
    assert error(found, expected) < (2e-6 if dtype == torch.float32 else 1.5e-3)
    torch.testing.assert_close(statistics, reference.row_statistics(found), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(
        ops.compute_row_statistics(x, options=TRITON), reference.row_statistics(x), atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("prefix", [0, 2])
def test_mean_pool(raw: bool, prefix: int) -> None:
    x = torch.randn(3, 37, 40) * 2 + 3
    statistics = reference.row_statistics(x.flatten(0, 1)) if raw else None
    wide = None if statistics is None else statistics.double()
    found = ops.mean_pool(x, prefix, statistics, eps=1e-6, options=TRITON)
    assert (found - ops.mean_pool(x.double(), prefix, wide, eps=1e-6, options=TORCH)).abs().max() < 1e-5


@pytest.mark.parametrize(("columns", "parts", "width"), [(768, 6, 128), (768, 1, 768), (24, 2, 16), (100, 4, 32)])
def test_part_width(columns: int, parts: int, width: int) -> None:
    assert reference.part_width(columns, parts) == width


def test_statistics_in_parts_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="768 channels do not split into 5 parts"):
        reference.part_width(768, 5)

"""TNT's kernels in Triton's interpreter against float64: widths of TNT-S, TNT-B and digits-tnt, odd patch counts."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.options import Options, Workspace
from tessella.kernels.reference import row_statistics
from tessella.kernels.tuning import tnt_heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig
from tessella.kernels.weights import (
    MATRICES,
    VECTORS,
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    NormWeights,
)

TRITON, TORCH = Options(implementation="triton"), Options(implementation="torch")
TOLERANCE = {torch.float32: 5e-6, torch.float16: 5e-3}
SHAPES = {"S": (24, 4, 96), "B": (40, 4, 160), "digits": (16, 2, 32)}


def inner(
    dim: int, heads: int, hidden: int, *, depth: int = 2, per_token: bool = False, dtype: torch.dtype = torch.float32
) -> InnerWeights:
    def matrix(rows: int, columns: int) -> torch.Tensor:
        return (torch.randn(depth, rows, columns) / columns**0.5).to(dtype)

    return InnerWeights(
        qkv=matrix(3 * dim, dim),
        query_bias=torch.randn(depth, dim),
        projection=matrix(dim, dim),
        projection_bias=torch.randn(depth, dim),
        expand=matrix(hidden, dim),
        expand_bias=torch.randn(depth, hidden),
        contract=matrix(dim, hidden),
        contract_bias=torch.randn(depth, dim),
        heads=heads,
        eps=1e-5,
        per_token=per_token,
    )


def in_float64(weights: InnerWeights) -> InnerWeights:
    wide: dict[str, Any] = {name: getattr(weights, name).double() for name in (*MATRICES, *VECTORS)}
    return replace(weights, **wide)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("per_token", [False, True], ids=["whole rows", "per word"])
@pytest.mark.parametrize("size", SHAPES)
def test_all_blocks_in_one_launch(size: str, per_token: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    dim, heads, hidden = SHAPES[size]
    weights = inner(dim, heads, hidden, per_token=per_token, dtype=dtype)
    words = (torch.randn(5, 16 * dim) * 2 + 1).to(dtype)
    found = tnt_ops.tnt_inner(words, weights, options=TRITON)
    assert found.shape == (3, 5, 16 * dim)
    assert error(found, tnt_ops.tnt_inner(words.double(), in_float64(weights), options=TORCH)) < TOLERANCE[dtype]


@pytest.mark.parametrize("patches", [1, 7])
@pytest.mark.parametrize("together", [1, 4])
def test_any_number_of_patches_in_groups_of_any_size(
    patches: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tnt_heuristics, "tnt_inner", lambda *_: LaunchConfig(together, 0, num_stages=1))
    weights, words = inner(16, 2, 32), torch.randn(patches, 256)
    found = tnt_ops.tnt_inner(words, weights, options=TRITON)
    assert error(found, tnt_ops.tnt_inner(words.double(), in_float64(weights), options=TORCH)) < 5e-6


@pytest.mark.parametrize(("dim", "heads", "hidden", "words"), [(12, 3, 20, 16), (8, 1, 8, 16), (24, 4, 96, 32)])
def test_awkward_shapes(dim: int, heads: int, hidden: int, words: int) -> None:
    weights, x = inner(dim, heads, hidden), torch.randn(3, words * dim)
    found = tnt_ops.tnt_inner(x, weights, options=TRITON)
    assert error(found, tnt_ops.tnt_inner(x.double(), in_float64(weights), options=TORCH)) < 5e-6


@pytest.mark.parametrize("options", [TRITON, TORCH], ids=["triton", "torch"])
def test_block_after_block_is_the_same_as_all_at_once(options: Options) -> None:
    weights, words = inner(24, 4, 96, depth=3), torch.randn(3, 384)
    expected = tnt_ops.tnt_inner(words, weights, options=options)
    for index in range(3):
        words, row = tnt_ops.tnt_inner_block(words, weights, index, options=options)
        torch.testing.assert_close(row, expected[1 + index], atol=1e-5, rtol=1e-5)


def test_every_element_is_written_and_no_other() -> None:
    workspace = Workspace()
    weights, words = inner(24, 4, 96), torch.randn(3, 384)
    workspace.get("tnt_inner", (3, 3, 384), torch.float32, words.device).fill_(float("nan"))
    found = tnt_ops.tnt_inner(words, weights, options=replace(TRITON, workspace=workspace))
    assert found.isfinite().all()


def test_a_large_mean_does_not_cancel() -> None:
    weights, words = inner(24, 4, 96, depth=1), torch.randn(3, 384) + 300
    found = tnt_ops.tnt_inner(words, weights, options=TRITON)
    assert error(found, tnt_ops.tnt_inner(words.double(), in_float64(weights), options=TORCH)) < 1e-3
    assert found[0].var(dim=1, correction=0).sub(1).abs().max() < 1e-3


def test_what_the_kernel_cannot_take_is_said() -> None:
    with pytest.raises(
        ValueError, match="takes 16, 32, 64, … inner tokens per patch, not 9; use the torch implementation"
    ):
        tnt_ops.tnt_inner(torch.randn(2, 9 * 24), inner(24, 4, 96), options=TRITON)
    with pytest.raises(ValueError, match=r"the weights' width \(24\) must be positive and divide .* \(100\)"):
        tnt_ops.tnt_inner(torch.randn(2, 100), inner(24, 4, 96))


@pytest.mark.parametrize(("groups", "rows", "columns", "depth"), [(3, 1, 24, 16), (2, 37, 40, 48), (4, 33, 96, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tnt_project(groups: int, rows: int, columns: int, depth: int, dtype: torch.dtype) -> None:
    x = torch.randn(groups, rows, depth).to(dtype)
    weights = InnerProjectionWeights(
        (torch.randn(groups, columns, depth) / depth**0.5).to(dtype), torch.randn(groups, columns)
    )
    wide = InnerProjectionWeights(weights.weight.double(), weights.bias.double())
    found = tnt_ops.tnt_project(x, weights, options=TRITON)
    assert error(found, tnt_ops.tnt_project(x.double(), wide, options=TORCH)) < TOLERANCE[dtype]


@pytest.mark.parametrize("table", [True, False], ids=["table", "tokens"])
@pytest.mark.parametrize("normed", [True, False])
def test_tnt_add(table: bool, normed: bool) -> None:
    x = torch.randn(10, 40) if table else torch.randn(3, 10, 40)
    rows = torch.randn(3, 9, 40) * 3 + 2
    norm = NormWeights(torch.rand(40) + 0.5, torch.randn(40), 1e-5) if normed else None
    wide = NormWeights(norm.weight.double(), norm.bias.double(), 1e-5) if norm else None
    found, statistics = tnt_ops.tnt_add(x, rows, norm, return_statistics=True, options=TRITON)
    assert error(found, tnt_ops.tnt_add(x.double(), rows.double(), wide, options=TORCH)[0]) < 2e-6
    torch.testing.assert_close(statistics, row_statistics(found.flatten(0, 1)), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("size", "margin", "window"), [(16, 3, 19), (8, 3, 13), (8, 0, 8)])
def test_tnt_embed(size: int, margin: int, window: int) -> None:
    pixels = torch.randint(0, 256, (2, 3 * size, 2 * size, 3), dtype=torch.uint8)
    weights = InnerEmbedWeights(torch.randn(20, window**2 * 3) / 255, torch.randn(6, 20), size, margin, window)
    wide = replace(weights, weight=weights.weight.double(), table=weights.table.double())
    found = tnt_ops.tnt_embed(pixels, weights, options=TRITON)
    assert error(found, tnt_ops.tnt_embed(pixels, wide, options=TORCH)) < 2e-6

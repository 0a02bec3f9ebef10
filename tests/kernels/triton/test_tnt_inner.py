"""`tnt_inner` in Triton's interpreter against float64: widths of TNT-S, TNT-B and digits-tnt, odd patch counts."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.options import Workspace
from tessella.kernels.tuning import tnt_heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig
from tessella.kernels.weights import MATRICES, VECTORS, InnerWeights

from ...support.operators import TORCH, TRITON, error, random_inner_weights

TOLERANCE = {torch.float32: 5e-6, torch.float16: 5e-3}
SHAPES = {"S": (24, 4, 96), "B": (40, 4, 160), "digits": (16, 2, 32)}


def in_float64(weights: InnerWeights) -> InnerWeights:
    wide: dict[str, Any] = {name: getattr(weights, name).double() for name in (*MATRICES, *VECTORS)}
    return replace(weights, **wide)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("per_token", [False, True], ids=["whole rows", "per token"])
@pytest.mark.parametrize("size", SHAPES)
def test_all_blocks_in_one_launch(size: str, per_token: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    dim, heads, hidden = SHAPES[size]
    weights = random_inner_weights(dim, heads, hidden, per_token=per_token, dtype=dtype)
    x = (torch.randn(5, 16 * dim) * 2 + 1).to(dtype)
    result = tnt_ops.tnt_inner(x, weights, options=TRITON)
    assert result.shape == (3, 5, 16 * dim)
    assert error(result, tnt_ops.tnt_inner(x.double(), in_float64(weights), options=TORCH)) < TOLERANCE[dtype]


@pytest.mark.parametrize("patches", [1, 7])
@pytest.mark.parametrize("group", [1, 4])
def test_any_number_of_patches_in_groups_of_any_size(patches: int, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tnt_heuristics, "tnt_inner", lambda *_: LaunchConfig(group, 0, num_stages=1))
    weights, x = random_inner_weights(16, 2, 32), torch.randn(patches, 256)
    result = tnt_ops.tnt_inner(x, weights, options=TRITON)
    assert error(result, tnt_ops.tnt_inner(x.double(), in_float64(weights), options=TORCH)) < 5e-6


@pytest.mark.parametrize(("dim", "heads", "hidden", "inner_tokens"), [(12, 3, 20, 16), (8, 1, 8, 16), (24, 4, 96, 32)])
def test_awkward_shapes(dim: int, heads: int, hidden: int, inner_tokens: int) -> None:
    weights, x = random_inner_weights(dim, heads, hidden), torch.randn(3, inner_tokens * dim)
    result = tnt_ops.tnt_inner(x, weights, options=TRITON)
    assert error(result, tnt_ops.tnt_inner(x.double(), in_float64(weights), options=TORCH)) < 5e-6


def test_every_element_is_written_and_no_other() -> None:
    workspace = Workspace()
    weights, x = random_inner_weights(24, 4, 96), torch.randn(3, 384)
    workspace.get("tnt_inner", (3, 3, 384), torch.float32, x.device).fill_(float("nan"))
    result = tnt_ops.tnt_inner(x, weights, options=replace(TRITON, workspace=workspace))
    assert result.isfinite().all()


def test_a_large_mean_does_not_cancel() -> None:
    weights, x = random_inner_weights(24, 4, 96, depth=1), torch.randn(3, 384) + 300
    result = tnt_ops.tnt_inner(x, weights, options=TRITON)
    assert error(result, tnt_ops.tnt_inner(x.double(), in_float64(weights), options=TORCH)) < 1e-3
    assert result[0].var(dim=1, correction=0).sub(1).abs().max() < 1e-3

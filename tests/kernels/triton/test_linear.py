"""`linear` in Triton's interpreter against float64: epilogues, odd shapes, strided rows, split-K, row statistics."""

import pytest
import torch

from tessella.kernels import ops, reference
from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.options import Options, Workspace
from tessella.kernels.tuning import heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig
from tessella.kernels.weights import LinearWeights

from ...support.operators import TRITON, error

TOLERANCE = {torch.float32: 2e-6, torch.float16: 1.5e-3}


def weights_for(
    depth: int, columns: int, dtype: torch.dtype, *, folded: bool = True, bias: bool = True
) -> LinearWeights:
    weight = torch.randn(columns, depth).to(dtype) / depth**0.5
    return LinearWeights(
        weight=weight,
        bias=torch.randn(columns) if bias else None,
        sums=weight.float().sum(dim=1) if folded else None,
        eps=1e-6,
    )


def exact(x: torch.Tensor, weights: LinearWeights, activation: str, residual: torch.Tensor | None) -> torch.Tensor:
    """Result in float64 from the rounded inputs."""
    wide = LinearWeights(
        weights.weight.double(),
        None if weights.bias is None else weights.bias.double(),
        sums=None if weights.sums is None else weights.weight.double().sum(dim=1),
        eps=weights.eps,
    )
    residual = None if residual is None else residual.double()
    return ops.linear(x.double(), wide, activation=activation, residual=residual, options=Options("torch"))[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("activation", ["none", "gelu", "quick_gelu", "swiglu"])
@pytest.mark.parametrize("folded", [True, False], ids=["LayerNorm folded", "plain"])
def test_every_epilogue(dtype: torch.dtype, activation: str, folded: bool) -> None:
    x = torch.randn(37, 40).to(dtype) + 2
    weights = weights_for(40, 48, dtype, folded=folded)
    residual = torch.randn(37, 24 if activation == "swiglu" else 48).to(dtype)
    result, statistics = ops.linear(
        x, weights, activation=activation, residual=residual, return_statistics=True, options=TRITON
    )
    assert error(result, exact(x, weights, activation, residual)) < TOLERANCE[dtype]
    assert statistics is not None
    mean, rstd = reference.mean_and_rstd(statistics, result.shape[1], 1e-6)
    torch.testing.assert_close(mean, result.float().mean(dim=1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rstd, (result.float().var(dim=1, correction=0) + 1e-6).rsqrt(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [(1, 8, 8), (5, 10, 24), (17, 129, 64), (33, 7, 100), (65, 72, 36)]
)
def test_awkward_shapes(rows: int, columns: int, depth: int) -> None:
    x = torch.randn(rows, depth)
    weights = weights_for(depth, columns, torch.float32, folded=False)
    assert error(ops.linear(x, weights, options=TRITON)[0], exact(x, weights, "none", None)) < 2e-6


@pytest.mark.parametrize("bias", [True, False])
def test_split_k_applies_the_same_epilogue_and_resets_its_counters(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heuristics, "linear", lambda *_: LaunchConfig(16, 32, 16, split_k=4))
    workspace = Workspace()
    options = Options(implementation="triton", workspace=workspace)
    x, weights = torch.randn(5, 120), weights_for(120, 40, torch.float32, bias=bias)
    residual = torch.randn(5, 40)
    expected = exact(x, weights, "gelu", residual)
    for _ in range(2):
        result, statistics = ops.linear(
            x, weights, activation="gelu", residual=residual, return_statistics=True, options=options
        )
        assert error(result, expected) < 2e-6
    assert statistics is not None
    assert statistics.shape == (2, 2, 5)
    assert workspace.get("linear.counters", (2,), torch.int32, x.device).tolist() == [0, 0]


def test_rows_of_any_stride_with_their_statistics() -> None:
    tokens = torch.randn(3, 7, 32) * 2 + 5
    statistics = reference.row_statistics(tokens.flatten(0, 1))
    weights = weights_for(32, 16, torch.float32)
    result, _ = ops.linear(
        tokens[:, 0], weights, row_statistics=statistics[..., ::7], residual=tokens[:, 1, :16], options=TRITON
    )
    assert error(result, exact(tokens[:, 0], weights, "none", tokens[:, 1, :16])) < 2e-6


def test_statistics_in_parts_feed_the_next_layer() -> None:
    first, second = weights_for(16, 72, torch.float32, folded=False), weights_for(72, 24, torch.float32)
    x, statistics = ops.linear(torch.randn(9, 16), first, return_statistics=True, options=TRITON)
    assert statistics is not None
    assert len(statistics) == 3
    result, _ = ops.linear(x, second, row_statistics=statistics, options=TRITON)
    assert error(result, exact(x, second, "none", None)) < 2e-6


@pytest.mark.parametrize("offset", [0.0, 10.0, 300.0])
def test_a_large_mean_does_not_cancel(offset: float) -> None:
    x = torch.randn(20, 64) + offset
    x[:, 5] *= 40
    first = LinearWeights(torch.eye(64))
    _, statistics = ops.linear(x, first, return_statistics=True, options=TRITON)
    assert statistics is not None
    _, rstd = reference.mean_and_rstd(statistics, 64, 1e-6)
    torch.testing.assert_close(rstd.double(), (x.double().var(dim=1, correction=0) + 1e-6).rsqrt(), atol=0, rtol=1e-5)


def test_every_element_is_written() -> None:
    workspace = Workspace()
    options = Options(implementation="triton", workspace=workspace)
    x, weights = torch.randn(33, 24), weights_for(24, 40, torch.float32)
    for name, shape in (("linear", (33, 40)), ("linear.statistics", (2, 2, 33))):
        workspace.get(name, shape, torch.float32, x.device).fill_(float("nan"))
    result, statistics = ops.linear(x, weights, return_statistics=True, options=options)
    assert result.isfinite().all()
    assert statistics is not None
    assert statistics.isfinite().all()


def test_gpus_without_tma_load_tiles_by_pointers() -> None:
    """GPUs below sm_90: no descriptors, every load masked."""
    x, weights = torch.randn(70, 72)[:, :40], weights_for(40, 24, torch.float32)
    with assume_gpu(Gpu("NVIDIA A100", 80, 108)):
        result, _ = ops.linear(x, weights, activation="gelu", options=TRITON)
        few, _ = ops.linear(x[:3], weights, activation="gelu", options=TRITON)
    assert error(result, exact(x, weights, "gelu", None)) < 2e-6
    torch.testing.assert_close(few, result[:3], atol=1e-5, rtol=1e-5)

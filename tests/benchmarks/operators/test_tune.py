"""Tuning and the GPU benchmarks without a GPU: kernels in the interpreter, a timer that is told what to say."""

import json
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from tessella.benchmarks.networks import cuda_graphs
from tessella.benchmarks.operators import measure, operators, sub_blocks, tune, tuning_jobs
from tessella.benchmarks.roofline import Ceiling
from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.tuning import heuristics, tables, tnt_heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig
from tessella.models.config import TNTConfig, ViTConfig

CPU = torch.device("cpu")
TINY = ViTConfig(image_size=16, patch_size=8, dim=32, depth=2, heads=2, mlp_dim=64, num_classes=8)
TINY_TNT = TNTConfig(
    image_size=16,
    patch_size=8,
    sub_patch_size=2,
    dim=24,
    depth=2,
    heads=2,
    mlp_dim=32,
    inner_dim=12,
    inner_heads=2,
    inner_mlp_dim=24,
    num_classes=8,
)
CEILING = Ceiling("a GPU", 1e12, 1e11)
H200 = Gpu("NVIDIA H200", 90, 132)

Runs = Sequence[Callable[[], object]]


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(tables, "_tables", {})
    for module in (tuning_jobs, measure, cuda_graphs):
        monkeypatch.setattr(module, "config_of", {"tiny": TINY, "tiny-tnt": TINY_TNT}.__getitem__)


def test_the_quickest_right_candidate_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three is quickest; one that cannot be launched is passed over."""
    candidates = [LaunchConfig(32, 32, 32), LaunchConfig(16, 32, 32, group_m=4), LaunchConfig(24, 32, 32)]
    monkeypatch.setattr(heuristics, "candidates", lambda *_: candidates)

    def timer(runs: Runs) -> float:
        with assume_gpu(H200):
            table = tables.table_for(H200)
        assert table is not None
        tile = next(iter(reversed(table.entries.values())))
        return 1.0 if tile["group_m"] == 4 else 2.0

    with assume_gpu(H200):
        left = tune.tune(CPU, architectures=["tiny"], batches=[2], dtype=torch.float16, timer=timer)
        assert left == []
        assert heuristics.linear(10, 64, 32, torch.float16, CPU, activation="gelu") == candidates[1]
    document = json.loads(tables.table_path(H200).read_text())
    assert len(document["entries"]) == 5
    assert set(document["choices"].values()) == {"triton"}


def test_a_tnt_has_its_own_operators_and_an_order_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heuristics, "candidates", lambda *_: [])
    tiles = {"tnt_inner": LaunchConfig(1, 0, num_stages=1), "tnt_project": LaunchConfig(16, 32, 32, num_stages=1)}
    monkeypatch.setattr(tnt_heuristics, "candidates", lambda operator, *_: [tiles[operator]])
    times = count(10, -1)
    with assume_gpu(H200):
        left = tune.tune(
            CPU, architectures=["tiny-tnt"], batches=[1], dtype=torch.float16, timer=lambda _: float(next(times))
        )
        assert tnt_heuristics.tnt_project(3, 4, 24, 192, torch.float16, CPU, False) == tiles["tnt_project"]
        order = tables.measured_choice(H200, "tnt_words", 5, 24, torch.float16)
    assert left == []
    assert order == "overlapped", "timed last, and the timer runs backwards"
    table = json.loads(tables.table_path(H200).read_text())
    assert {name.split()[0] for name in table["entries"]} == {"tnt_inner", "tnt_project", "linear", "attention"}
    assert len(table["choices"]) == 3


def test_without_time_everything_is_left_for_the_next_run() -> None:
    with assume_gpu(H200):
        left = tune.tune(CPU, architectures=["tiny"], batches=[2], dtype=torch.float16, budget=-1, timer=lambda _: 1.0)
    assert len(left) == 7
    assert not tables.table_path(H200).exists()


def test_rows_are_saved_one_by_one_and_not_measured_twice(tmp_path: Path) -> None:
    results = tmp_path / "kernels.jsonl"
    options: dict[str, Any] = {"architectures": ["tiny"], "batches": [2], "dtype": torch.float32, "results": results}
    rows, left = measure.measure(CPU, CEILING, providers=["triton", "torch"], timer=lambda _: 1e-3, **options)
    assert (len(rows), left) == (2 * (2 + 9), [])
    assert all(row.error < 1e-5 for row in rows[:-1])
    ours, torchs = rows[-2:]
    assert (ours.operator, ours.error) == ("resize_crop", 0)
    assert 0 < torchs.error < 1e-2
    again, _ = measure.measure(CPU, CEILING, providers=["triton", "torch"], timer=_never, **options)
    assert again == rows
    assert measure.table(rows).row_count == len(rows)


def test_a_tnt_adds_its_own_operators() -> None:
    rows, left = measure.measure(
        CPU,
        CEILING,
        architectures=["tiny-tnt"],
        batches=[1],
        dtype=torch.float32,
        providers=["triton", "torch"],
        timer=lambda _: 1e-3,
    )
    assert ([row.operator for row in rows[::2]], left) == (list(operators.TNT_ONLY), [])
    assert all(row.error < 1e-5 for row in rows)
    inner = rows[2]
    assert inner.tflops == pytest.approx(2 * 4 * 16 * 12 * (4 * 12 + 2 * 24 + 2 * 16) * 2 / 1e-3 / 1e12)


def test_networks_are_measured_beside_the_published_one(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "architectures": ["tiny"],
        "batches": [2],
        "dtype": torch.float32,
        "results": tmp_path / "networks.jsonl",
    }
    rows, left = cuda_graphs.measure(CPU, CEILING, providers=["triton", "eager"], timer=lambda _: 1e-3, **options)
    assert ([row.provider for row in rows], left) == (["triton", "eager"], [])
    assert all(row.error < 1e-5 for row in rows)
    assert rows[0].images_per_second == 2000
    again, _ = cuda_graphs.measure(CPU, CEILING, providers=["triton", "eager"], timer=_never, **options)
    assert again == rows


def test_a_wrong_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sub_blocks.SubBlock, "triton", lambda half: lambda: half.torch()() * 1.01)
    with pytest.raises(measure.ResultMismatch, match="triton fused_qkv_attention of tiny at batch 2: relative error"):
        measure.measure(CPU, CEILING, architectures=["tiny"], batches=[2], dtype=torch.float32, timer=_never)


def _never(runs: Runs) -> float:
    raise AssertionError("nothing is left to time")

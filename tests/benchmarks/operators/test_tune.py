"""Tuning without a GPU: kernels in the interpreter, and a timer with fixed results."""

import json
from itertools import count
from pathlib import Path

import pytest
import torch

from tessella.benchmarks.operators import tune
from tessella.kernels.device import assume_gpu
from tessella.kernels.tuning import heuristics, tables, tnt_heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig

from ...support.tiny_networks import CPU, H200, Runs, constant_timer, use_tiny_networks


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(tmp_path, monkeypatch)


def test_the_fastest_correct_candidate_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three is the fastest; one that cannot be launched is skipped."""
    candidates = [LaunchConfig(32, 32, 32), LaunchConfig(16, 32, 32, group_m=4), LaunchConfig(24, 32, 32)]
    monkeypatch.setattr(heuristics, "candidates", lambda *_: candidates)

    def timer(runs: Runs) -> float:
        with assume_gpu(H200):
            table = tables.table_for(H200)
        assert table is not None
        config = next(iter(reversed(table.entries.values())))
        return 1.0 if config["group_m"] == 4 else 2.0

    with assume_gpu(H200):
        remaining = tune.tune(CPU, architectures=["tiny"], batches=[2], dtype=torch.float16, timer=timer)
        assert remaining == []
        assert heuristics.linear(10, 64, 32, torch.float16, CPU, activation="gelu") == candidates[1]
    document = json.loads(tables.table_path(H200).read_text())
    assert len(document["entries"]) == 5
    assert set(document["choices"].values()) == {"triton"}


def test_a_tnt_has_its_own_operators_and_an_order_of_its_inner_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heuristics, "candidates", lambda *_: [])
    configs = {"tnt_inner": LaunchConfig(1, 0, num_stages=1), "tnt_project": LaunchConfig(16, 32, 32, num_stages=1)}
    monkeypatch.setattr(tnt_heuristics, "candidates", lambda operator, *_: [configs[operator]])
    times = count(10, -1)
    with assume_gpu(H200):
        remaining = tune.tune(
            CPU, architectures=["tiny-tnt"], batches=[1], dtype=torch.float16, timer=lambda _: float(next(times))
        )
        assert tnt_heuristics.tnt_project(3, 4, 24, 192, torch.float16, CPU, False) == configs["tnt_project"]
        order = tables.measured_choice(H200, "tnt_words", 5, 24, torch.float16)
    assert remaining == []
    assert order == "overlapped", "measured last, and each time is shorter than the one before"
    table = json.loads(tables.table_path(H200).read_text())
    assert {name.split()[0] for name in table["entries"]} == {"tnt_inner", "tnt_project", "linear", "attention"}
    assert len(table["choices"]) == 3


def test_without_budget_every_entry_remains_for_the_next_run() -> None:
    with assume_gpu(H200):
        remaining = tune.tune(
            CPU, architectures=["tiny"], batches=[2], dtype=torch.float16, budget=-1, timer=constant_timer
        )
    assert len(remaining) == 7
    assert not tables.table_path(H200).exists()

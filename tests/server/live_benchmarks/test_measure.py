"""Measurement of shipped models: comparison with eager PyTorch, matrix rate, statistics, failures."""

import threading

import pytest

from tessella.models.backend_timings import relative_spread
from tessella.models.costs import macs
from tessella.models.registry import describe
from tessella.server.engine.model_loader import start_worker
from tessella.server.live_benchmarks.measure import Measurement, benchmark_row, flops_per_image, with_roofline
from tessella.server.live_benchmarks.schemas import BenchmarkRequest, Run

from ...support.gated_runner import GatedRunner


def run_of(**request: object) -> Run:
    options = BenchmarkRequest.model_validate(request)
    return Run(id="1", request=options, model="m", backend="", device="", dtype="", created_at="")


@pytest.mark.parametrize("name", ["digits-vit", "digits-tnt"])
def test_served_model_is_compared_with_eager_pytorch(name: str) -> None:
    worker = start_worker(name, name, 4, device="cpu", dtype="float32", backend="torch")
    flops = 2 * macs(describe(name).config)
    assert flops_per_image(worker.info) == flops
    reports: list[Run] = []
    run = run_of(batch_sizes=[1, 3], iterations=4, against="eager")
    Measurement(worker, name, run, reports.append, threading.Event()).run()
    last = reports[-1]
    assert (last.state, last.error) == ("done", None)
    assert last.difference is not None
    assert last.difference < 1e-4
    assert last.matrix_rate
    for row in last.rows:
        assert row.eager_p50_ms is not None
        assert row.speedup == pytest.approx(row.eager_p50_ms / row.p50_ms, rel=0.01)
        assert row.roofline_percent == pytest.approx(100 * flops * row.images_per_second / last.matrix_rate, rel=0.01)
    assert [len(report.rows) for report in reports] == sorted(len(report.rows) for report in reports)
    worker.close()


def test_different_logits_fail_the_run() -> None:
    worker = start_worker("digits-vit", "digits-vit", 4, device="cpu", dtype="float32", backend="torch")
    reports: list[Run] = []
    run = run_of(batch_sizes=[1], against="eager")
    Measurement(worker, "digits-tnt", run, reports.append, threading.Event()).run()
    assert reports[-1].state == "failed"
    assert "differ from those of eager PyTorch" in (reports[-1].error or "")
    assert reports[-1].rows == []
    worker.close()


def test_closed_worker_fails_the_run() -> None:
    worker = GatedRunner().worker(4)
    worker.close()
    reports: list[Run] = []
    Measurement(worker, "gated", run_of(), reports.append, threading.Event()).run()
    assert (reports[-1].state, reports[-1].error) == ("failed", "the batcher is closed")


def test_statistics_of_known_times() -> None:
    live = [i / 1e3 for i in range(1, 102)]  # 1 to 101 ms
    row = benchmark_row(8, {"live": live, "eager": [0.102] * 3}, first=0.5)
    assert (row.p50_ms, row.p95_ms, row.p99_ms, row.first_ms) == (51, 96, 100, 500)
    assert row.images_per_second == pytest.approx(8 / 0.051, rel=1e-3)
    assert [r.roofline_percent for r in with_roofline([row], 51_000_000, 1e11)] == [8.0]
    assert with_roofline([row], None, 1e11) == with_roofline([row], 51_000_000, None) == [row]
    assert (row.speedup, row.eager_p50_ms) == (2, 102)
    assert relative_spread(live) == pytest.approx(25 / 51)
    assert flops_per_image(GatedRunner.info) is None

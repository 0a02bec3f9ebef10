"""What a benchmark says of a real model: beside eager PyTorch, which computes the same, and the matrix rate."""

import threading

import pytest

from tessella.models.backend_timings import relative_spread
from tessella.models.costs import macs
from tessella.models.registry import describe
from tessella.server.engine.model_loader import start_worker
from tessella.server.live_benchmarks.measure import Measurement, operations_of, rated, row
from tessella.server.live_benchmarks.schemas import BenchmarkRequest, Run

from ...support.gated_runner import GatedRunner


def run_of(**request: object) -> Run:
    asked = BenchmarkRequest.model_validate(request)
    return Run(id="1", request=asked, model="m", backend="", device="", dtype="", created_at="")


@pytest.mark.parametrize("name", ["digits-vit", "digits-tnt"])
def test_the_live_model_beside_eager_pytorch(name: str) -> None:
    worker = start_worker(name, name, 4, device="cpu", dtype="float32", backend="torch")
    operations = 2 * macs(describe(name).config)
    assert operations_of(worker.info) == operations
    reports: list[Run] = []
    run = run_of(batch_sizes=[1, 3], iterations=4, against="eager")
    Measurement(worker, name, run, reports.append, threading.Event()).run()
    last = reports[-1]
    assert (last.state, last.error) == ("done", None)
    assert last.difference is not None
    assert last.difference < 1e-4
    assert last.matrix_rate
    for found in last.rows:
        assert found.eager_p50_ms is not None
        assert found.speedup == pytest.approx(found.eager_p50_ms / found.p50_ms, rel=0.01)
        assert found.roofline_percent == pytest.approx(
            100 * operations * found.images_per_second / last.matrix_rate, rel=0.01
        )
    assert [len(report.rows) for report in reports] == sorted(len(report.rows) for report in reports)
    worker.close()


def test_a_model_that_is_not_its_checkpoint_is_not_timed() -> None:
    worker = start_worker("digits-vit", "digits-vit", 4, device="cpu", dtype="float32", backend="torch")
    reports: list[Run] = []
    run = run_of(batch_sizes=[1], against="eager")
    Measurement(worker, "digits-tnt", run, reports.append, threading.Event()).run()
    assert reports[-1].state == "failed"
    assert "not those of eager PyTorch" in (reports[-1].error or "")
    assert reports[-1].rows == []
    worker.close()


def test_a_model_that_is_closed_meanwhile_is_a_failure() -> None:
    worker = GatedRunner().worker(4)
    worker.close()
    reports: list[Run] = []
    Measurement(worker, "gated", run_of(), reports.append, threading.Event()).run()
    assert (reports[-1].state, reports[-1].error) == ("failed", "the batcher is closed")


def test_figures_of_known_times() -> None:
    live = [i / 1e3 for i in range(1, 102)]  # 1 to 101 ms
    found = row(8, {"live": live, "eager": [0.102] * 3}, first=0.5)
    assert (found.p50_ms, found.p95_ms, found.p99_ms, found.first_ms) == (51, 96, 100, 500)
    assert found.images_per_second == pytest.approx(8 / 0.051, rel=1e-3)
    assert [r.roofline_percent for r in rated([found], 51_000_000, 1e11)] == [8.0]
    assert rated([found], None, 1e11) == rated([found], 51_000_000, None) == [found]
    assert (found.speedup, found.eager_p50_ms) == (2, 102)
    assert relative_spread(live) == pytest.approx(25 / 51)
    assert operations_of(GatedRunner.info) is None

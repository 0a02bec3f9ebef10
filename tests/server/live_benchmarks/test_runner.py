"""Benchmark runner: planning of a request, load detection, cancellation."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessella.models.preprocessing.images import InputImage
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.worker import Worker
from tessella.server.errors import BadRequest, BenchmarkRunning, NotReady, Overloaded
from tessella.server.live_benchmarks.runner import BenchmarkRunner, LocalBenchmarks, plan_run, under_load
from tessella.server.live_benchmarks.schemas import BenchmarkRequest, Run
from tessella.server.model_names import Version
from tessella.server.repository import ModelRepository
from tessella.server.served_model import ServedModel
from tessella.server.settings import Settings

from ...support.gated_runner import SIDE, GatedRunner

IMAGE = InputImage(np.zeros((SIDE, SIDE, 3), np.uint8))
SHORT = {"batch_sizes": [1, 2], "iterations": 2, "warmup": 1}


@pytest.fixture
def runner() -> GatedRunner:
    return GatedRunner()


@pytest.fixture
def worker(runner: GatedRunner) -> Iterator[Worker]:
    with closing(runner.worker(4)) as worker:
        yield worker
        runner.gate.set()


async def repository_of(worker: Worker, source: str = "m") -> ModelRepository:
    async def load(model: ServedModel) -> AsyncEngine:
        return AsyncEngine(worker, name=model.name)

    repository = ModelRepository(Settings(models={"m": (Version(source=source),)}), load)
    await repository.start()
    return repository


def plan(worker: Worker, source: str = "m", **request: Any) -> tuple[Run, str]:
    async def main() -> tuple[Run, str]:
        return plan_run(BenchmarkRequest.model_validate(request), await repository_of(worker, source))

    return asyncio.run(main())


def test_plan_describes_the_served_model(worker: Worker) -> None:
    run, source = plan(worker, "checkpoint", iterations=7)
    assert (run.served, run.state, run.backend, source) == ("m:1", "queued", "none", "checkpoint")
    assert run.request.batch_sizes == [1, 2, 4], "the default leaves out sizes above the maximum"
    assert run.request.iterations == 7


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"batch_sizes": [1, 8]}, "batch size 8 is larger than the model's maximum, 4"),
        ({"batch_sizes": [2, 2]}, "must not contain a size twice"),
        ({"dtype": "float16"}, "served in none, not in float16"),
    ],
)
def test_plan_rejects_what_the_model_does_not_support(worker: Worker, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        plan(worker, **request_)


def test_plan_rejects_a_comparison_with_an_onnx_file(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(BadRequest, match="is an ONNX file; 'against' needs a checkpoint"):
        plan(worker, str(tmp_path / "m.onnx"), against="eager")


def test_load_is_images_queued_or_running(worker: Worker, runner: GatedRunner) -> None:
    assert not asyncio.run(under_load([worker]))
    runner.gate.clear()
    future = worker.submit(IMAGE)
    assert asyncio.run(under_load([worker]))
    runner.gate.set()
    future.result(30)


def test_runner_rejects_a_loaded_worker_unless_forced(worker: Worker, runner: GatedRunner) -> None:
    updates: list[Run] = []

    async def main() -> None:
        benchmarks = BenchmarkRunner(updates.append)
        runner.gate.clear()
        worker.submit(IMAGE)
        run, _ = plan_run(BenchmarkRequest.model_validate(SHORT), await repository_of(worker))
        with pytest.raises(Overloaded, match="benchmark it when it is idle"):
            await benchmarks.start(worker, "m", run, [worker])
        forced = run.model_copy(update={"request": run.request.model_copy(update={"force": True})})
        await benchmarks.start(worker, "m", forced, [worker])
        benchmarks.cancel(run.id)
        runner.gate.set()
        await benchmarks.close()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert updates[-1].state == "cancelled"


def test_local_benchmarks_keep_their_runs(worker: Worker) -> None:
    async def main() -> None:
        repository = await repository_of(worker)
        benchmarks = LocalBenchmarks(repository)
        run, source = plan_run(BenchmarkRequest.model_validate(SHORT), repository)
        await benchmarks.start(run, source)
        with pytest.raises(BenchmarkRunning):
            await benchmarks.start(run.model_copy(update={"id": "2"}), source)
        while not benchmarks.history.get(run.id).ended:
            await benchmarks.history.wait_for_update(5)
        assert benchmarks.history.get(run.id).state == "done"
        assert [row.batch_size for row in benchmarks.history.get(run.id).rows] == [1, 2]
        with pytest.raises(NotReady, match="'m:9'"):
            await benchmarks.start(run.model_copy(update={"version": 9}), source)
        await benchmarks.close()

    asyncio.run(main())

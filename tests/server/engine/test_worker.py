"""Worker: warm-up, exclusive work between batches, and compilations after the warm-up."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tessella.models.execution.compile_events import notify_compiled
from tessella.models.preprocessing.images import ImageBatch, InputImage
from tessella.server.engine.runner import Runner
from tessella.server.engine.tasks import Task
from tessella.server.engine.worker import Worker
from tessella.server.observability.metrics import Metrics

from ...support.gated_runner import SIDE, GatedRunner


def shape_of_a_call(runner: Runner) -> tuple[int, ...]:
    return runner.run(np.zeros((3, SIDE, SIDE, 3), np.uint8)).shape


def test_exclusive_work_runs_in_the_order_of_submission() -> None:
    runner = GatedRunner()
    worker = runner.worker(8)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    runner.gate.clear()
    running = worker.submit(InputImage(image))
    assert runner.begun.acquire(timeout=30)
    before = [worker.submit(InputImage(image)), worker.submit(InputImage(image))]
    work = worker.run_exclusive(shape_of_a_call)
    after = worker.submit(InputImage(image))
    runner.gate.set()
    assert work.result(30) == (3, 256)
    assert [future.result(30).batch_size for future in (running, *before, after)] == [1, 2, 2, 1]
    assert runner.batches == [1, 2, 3, 1]
    worker.close()


def test_failed_exclusive_work_does_not_affect_images() -> None:
    worker = GatedRunner().worker(8)
    work = worker.run_exclusive(lambda _: 1 // 0)
    answer = worker.submit(InputImage(np.full((SIDE, SIDE, 3), 7, np.uint8)))
    with pytest.raises(ZeroDivisionError):
        work.result(30)
    assert answer.result(30).values.argmax() == 7
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        worker.run_exclusive(shape_of_a_call)


@pytest.mark.parametrize(
    ("buckets", "expected"), [((), [1, 2]), ((1, 2, 4, 8, 16), [1, 2, 4, 6]), ((1, 6), [1, 6]), ((8,), [6])]
)
def test_every_batch_size_is_expected_up(buckets: tuple[int, ...], expected: list[int]) -> None:
    runner = GatedRunner()
    runner.info = replace(runner.info, buckets={Task.LOGITS: buckets} if buckets else {})
    worker = Worker(runner, name="gated", max_batch_size=6)
    worker.start()
    assert runner.batches == expected
    worker.close()


class CompilingRunner(GatedRunner):
    """Runner that compiles for each batch size when it first runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled: set[int] = set()

    def run(self, images: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        if len(images) not in self.compiled:
            self.compiled.add(len(images))
            notify_compiled(f"kernel of batch {len(images)}")
        return super().run(images, task)


def test_compilation_after_the_warm_up_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    runner, metrics = CompilingRunner(), Metrics()
    worker = Worker(runner, name="gated", max_batch_size=4, metrics=metrics)
    worker.start()

    def count() -> float:
        return sum(value for name, _, value in metrics.snapshot()["values"] if name == "tessella_jit_compiles_total")

    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert worker.submit(InputImage(image)).result(30).batch_size == 1
    assert (count(), caplog.text) == (0, "")
    runner.gate.clear()
    first = worker.submit(InputImage(image))
    for _ in range(4):  # three of them in the warm-up and the request before
        assert runner.begun.acquire(timeout=30)
    others = [worker.submit(InputImage(image)) for _ in range(3)]
    runner.gate.set()
    assert [future.result(30).batch_size for future in (first, *others)] == [1, 3, 3, 3]
    assert count() == 1
    assert "kernel of batch 3 was compiled after the warm-up and delayed a request" in caplog.text
    worker.close()

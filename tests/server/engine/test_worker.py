"""The model's thread: errands have their turn between batches, and what they raise is theirs."""

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


def test_an_errand_waits_for_the_images_before_it_and_not_for_those_after() -> None:
    runner = GatedRunner()
    worker = runner.worker(8)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    runner.gate.clear()
    running = worker.submit(InputImage(image))
    assert runner.begun.acquire(timeout=30)
    before = [worker.submit(InputImage(image)), worker.submit(InputImage(image))]
    errand = worker.run_exclusive(shape_of_a_call)
    after = worker.submit(InputImage(image))
    runner.gate.set()
    assert errand.result(30) == (3, 256)
    assert [future.result(30).batch_size for future in (running, *before, after)] == [1, 2, 2, 1]
    assert runner.batches == [1, 2, 3, 1]
    worker.close()


def test_an_errand_that_fails_takes_no_image_with_it() -> None:
    worker = GatedRunner().worker(8)
    errand = worker.run_exclusive(lambda _: 1 // 0)
    answer = worker.submit(InputImage(np.full((SIDE, SIDE, 3), 7, np.uint8)))
    with pytest.raises(ZeroDivisionError):
        errand.result(30)
    assert answer.result(30).values.argmax() == 7
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        worker.run_exclusive(shape_of_a_call)


@pytest.mark.parametrize(
    ("buckets", "warmed"), [((), [1, 2]), ((1, 2, 4, 8, 16), [1, 2, 4, 6]), ((1, 6), [1, 6]), ((8,), [6])]
)
def test_every_size_of_batch_is_warmed_before_the_first_request(buckets: tuple[int, ...], warmed: list[int]) -> None:
    runner = GatedRunner()
    runner.info = replace(runner.info, buckets={Task.LOGITS: buckets} if buckets else {})
    worker = Worker(runner, name="gated", max_batch_size=6)
    worker.start()
    assert runner.batches == warmed
    worker.close()


class CompilingRunner(GatedRunner):
    """Compiles each size of batch when it first runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled: set[int] = set()

    def run(self, frames: ImageBatch, task: Task = Task.LOGITS) -> NDArray[np.float32]:
        if len(frames) not in self.compiled:
            self.compiled.add(len(frames))
            notify_compiled(f"kernel of batch {len(frames)}")
        return super().run(frames, task)


def test_what_is_compiled_after_ready_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
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
    for _ in range(4):  # three while it warmed up and served before
        assert runner.begun.acquire(timeout=30)
    others = [worker.submit(InputImage(image)) for _ in range(3)]
    runner.gate.set()
    assert [future.result(30).batch_size for future in (first, *others)] == [1, 3, 3, 3]
    assert count() == 1
    assert "kernel of batch 3 was compiled while a request waited" in caplog.text
    worker.close()

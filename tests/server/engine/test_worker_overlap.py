"""Worker with a pipelined runner of depth 2: order, results, and errors of single batches."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tessella.models.preprocessing.images import ImageBatch, InputImage, stack_images
from tessella.server.engine.runner import PipelinedRunner
from tessella.server.engine.tasks import Task
from tessella.server.engine.worker import Inference, Worker
from tessella.server.errors import InferenceFailed

from ...support.gated_runner import SIDE, GatedRunner

BAD_AT_START, BAD_AT_FINISH = 254, 255


class TwoDeepRunner(GatedRunner):
    """Pipelined runner whose `finish` waits for `gate`. `history`: starts (+) and finishes (-), by the first pixel."""

    depth = 2

    def __init__(self) -> None:
        super().__init__()
        self.history: list[str] = []
        self.max_in_flight = self.in_flight = 0

    def start(self, images: ImageBatch, task: Task) -> NDArray[np.uint8]:
        pixels = stack_images(images)
        first = int(pixels[0, 0, 0, 0])
        self.history.append(f"+{first}")
        if first == BAD_AT_START:
            raise RuntimeError("no memory to start with")
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.begun.release()
        return pixels

    def finish(self, call: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self.gate.wait(30)
        self.in_flight -= 1
        first = int(call[0, 0, 0, 0])
        self.history.append(f"-{first}")
        if first == BAD_AT_FINISH:
            raise RuntimeError("the transfer failed")
        return np.eye(256, dtype=np.float32)[call[:, 0, 0, 0]]


@pytest.fixture
def runner() -> TwoDeepRunner:
    return TwoDeepRunner()


@pytest.fixture
def worker(runner: TwoDeepRunner) -> Iterator[Worker]:
    worker = runner.worker(2)
    runner.history.clear()
    yield worker
    runner.gate.set()
    worker.close()


def image(value: int) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def results(worker: Worker, runner: TwoDeepRunner, values: list[int]) -> list[Inference | Exception]:
    """Results of images that are queued while one image is in flight."""
    runner.gate.clear()
    first = worker.submit(InputImage(image(0)))
    assert runner.begun.acquire(timeout=30)
    futures = [worker.submit(InputImage(image(value))) for value in values]
    runner.gate.set()
    assert isinstance(first.result(30), Inference)
    return [future.exception(30) or future.result() for future in futures]  # type: ignore[misc]


def test_full_batch_starts_while_another_is_in_flight(worker: Worker, runner: TwoDeepRunner) -> None:
    assert isinstance(runner, PipelinedRunner)
    outputs = results(worker, runner, [1, 2, 3, 4, 5, 6, 7])
    assert [int(one.values.argmax()) for one in outputs if isinstance(one, Inference)] == [1, 2, 3, 4, 5, 6, 7]
    assert [one.batch_size for one in outputs if isinstance(one, Inference)] == [2, 2, 2, 2, 2, 2, 1]
    begun = [event[1:] for event in runner.history if event[0] == "+"]
    assert begun == [event[1:] for event in runner.history if event[0] == "-"] == ["0", "1", "3", "5", "7"]
    assert (runner.max_in_flight, runner.in_flight) == (2, 0)
    assert runner.history.index("+3") < runner.history.index("-1")


@pytest.mark.parametrize("bad", [BAD_AT_START, BAD_AT_FINISH])
def test_failed_batch_does_not_affect_its_neighbours(worker: Worker, runner: TwoDeepRunner, bad: int) -> None:
    outputs = results(worker, runner, [1, 2, bad, 3, 4, 5])
    assert [isinstance(one, InferenceFailed) for one in outputs] == [False, False, True, True, False, False]
    assert [int(one.values.argmax()) for one in outputs if isinstance(one, Inference)] == [1, 2, 4, 5]


def test_partial_batches_and_exclusive_work_do_not_overlap(worker: Worker, runner: TwoDeepRunner) -> None:
    runner.gate.clear()
    first = worker.submit(InputImage(image(0)))
    assert runner.begun.acquire(timeout=30)
    second = worker.submit(InputImage(image(1)))
    work = worker.run_exclusive(lambda _: list(runner.history))
    after = [worker.submit(InputImage(image(value))) for value in (2, 3)]
    runner.gate.set()
    assert work.result(30) == ["+0", "-0", "+1", "-1"]
    assert [future.result(30).batch_size for future in (first, second, *after)] == [1, 1, 2, 2]

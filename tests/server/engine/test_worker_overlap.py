"""A runner that can have two batches under way: order, one answer each, and an error stays in its own batch."""

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


class TwoDeep(GatedRunner):
    """Begins at once; `gate` holds every finish. `history`: what was begun and finished, by the first pixel."""

    depth = 2

    def __init__(self) -> None:
        super().__init__()
        self.history: list[str] = []
        self.most = self.under_way = 0

    def start(self, frames: ImageBatch, task: Task) -> NDArray[np.uint8]:
        pixels = stack_images(frames)
        first = int(pixels[0, 0, 0, 0])
        self.history.append(f"+{first}")
        if first == BAD_AT_START:
            raise RuntimeError("no memory to start with")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.begun.release()
        return pixels

    def finish(self, call: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self.gate.wait(30)
        self.under_way -= 1
        first = int(call[0, 0, 0, 0])
        self.history.append(f"-{first}")
        if first == BAD_AT_FINISH:
            raise RuntimeError("lost on the way")
        return np.eye(256, dtype=np.float32)[call[:, 0, 0, 0]]


@pytest.fixture
def runner() -> TwoDeep:
    return TwoDeep()


@pytest.fixture
def worker(runner: TwoDeep) -> Iterator[Worker]:
    worker = runner.worker(2)
    runner.history.clear()
    yield worker
    runner.gate.set()
    worker.close()


def image(value: int) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def answers(worker: Worker, runner: TwoDeep, values: list[int]) -> list[Inference | Exception]:
    """Holds one image under way while these come, then lets all go."""
    runner.gate.clear()
    first = worker.submit(InputImage(image(0)))
    assert runner.begun.acquire(timeout=30)
    futures = [worker.submit(InputImage(image(value))) for value in values]
    runner.gate.set()
    assert isinstance(first.result(30), Inference)
    return [future.exception(30) or future.result() for future in futures]  # type: ignore[misc]


def test_a_full_batch_begins_while_another_is_under_way(worker: Worker, runner: TwoDeep) -> None:
    assert isinstance(runner, PipelinedRunner)
    found = answers(worker, runner, [1, 2, 3, 4, 5, 6, 7])
    assert [int(one.values.argmax()) for one in found if isinstance(one, Inference)] == [1, 2, 3, 4, 5, 6, 7]
    assert [one.batch_size for one in found if isinstance(one, Inference)] == [2, 2, 2, 2, 2, 2, 1]
    begun = [event[1:] for event in runner.history if event[0] == "+"]
    assert begun == [event[1:] for event in runner.history if event[0] == "-"] == ["0", "1", "3", "5", "7"]
    assert (runner.most, runner.under_way) == (2, 0)
    assert runner.history.index("+3") < runner.history.index("-1")


@pytest.mark.parametrize("bad", [BAD_AT_START, BAD_AT_FINISH])
def test_an_error_in_one_batch_does_not_touch_its_neighbours(worker: Worker, runner: TwoDeep, bad: int) -> None:
    found = answers(worker, runner, [1, 2, bad, 3, 4, 5])
    assert [isinstance(one, InferenceFailed) for one in found] == [False, False, True, True, False, False]
    assert [int(one.values.argmax()) for one in found if isinstance(one, Inference)] == [1, 2, 4, 5]


def test_what_is_not_full_waits_for_its_turn_and_an_errand_for_all_before_it(worker: Worker, runner: TwoDeep) -> None:
    runner.gate.clear()
    first = worker.submit(InputImage(image(0)))
    assert runner.begun.acquire(timeout=30)
    second = worker.submit(InputImage(image(1)))
    errand = worker.run_exclusive(lambda _: list(runner.history))
    after = [worker.submit(InputImage(image(value))) for value in (2, 3)]
    runner.gate.set()
    assert errand.result(30) == ["+0", "-0", "+1", "-1"]
    assert [future.result(30).batch_size for future in (first, second, *after)] == [1, 1, 2, 2]

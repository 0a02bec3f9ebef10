"""The model's thread: errands have their turn between batches, and what they raise is theirs."""

import numpy as np
import pytest

from tessella.server.runners import Runner

from .gated import SIDE, GatedRunner


def shape_of_a_call(runner: Runner) -> tuple[int, ...]:
    return runner.run(np.zeros((3, SIDE, SIDE, 3), np.uint8)).shape


def test_an_errand_waits_for_the_images_before_it_and_not_for_those_after() -> None:
    runner = GatedRunner()
    worker = runner.worker(8)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    runner.gate.clear()
    running = worker.submit(image)
    assert runner.begun.acquire(timeout=30)
    before = [worker.submit(image), worker.submit(image)]
    errand = worker.errand(shape_of_a_call)
    after = worker.submit(image)
    runner.gate.set()
    assert errand.result(30) == (3, 256)
    assert [future.result(30).batch_size for future in (running, *before, after)] == [1, 2, 2, 1]
    assert runner.batches == [1, 2, 3, 1]
    worker.close()


def test_an_errand_that_fails_takes_no_image_with_it() -> None:
    worker = GatedRunner().worker(8)
    errand = worker.errand(lambda _: 1 // 0)
    answer = worker.submit(np.full((SIDE, SIDE, 3), 7, np.uint8))
    with pytest.raises(ZeroDivisionError):
        errand.result(30)
    assert answer.result(30).values.argmax() == 7
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        worker.errand(shape_of_a_call)

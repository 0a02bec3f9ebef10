"""Async engine: batching, admission, deadlines, isolation of errors, and closing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from PIL import Image

from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.results import Classification
from tessella.server.errors import (
    DeadlineExceeded,
    ImageError,
    InferenceFailed,
    NotReady,
    Overloaded,
    RequestTooLarge,
    ServiceError,
)

from ...support import pictures
from ...support.gated_runner import SIDE, GatedRunner

Scenario = Callable[[AsyncEngine, GatedRunner], Awaitable[None]]


def red(value: int) -> bytes:
    return pictures.encode(Image.new("RGB", (SIDE, SIDE), (value, 0, 0)))


def label(result: Classification | ServiceError) -> str:
    assert isinstance(result, Classification)
    return result.predictions[0].label


@asynccontextmanager
async def running(runner: GatedRunner, max_batch_size: int = 32, **limits: Any) -> AsyncIterator[AsyncEngine]:
    engine = AsyncEngine(runner.worker(max_batch_size), name="gated", **limits)
    try:
        yield engine
    finally:
        runner.gate.set()
        await engine.close()


def run(scenario: Scenario, **limits: Any) -> GatedRunner:
    """Run a scenario with a started engine; returns its runner."""
    runner = GatedRunner()

    async def main() -> None:
        async with asyncio.timeout(60), running(runner, **limits) as engine:
            await scenario(engine, runner)

    asyncio.run(main())
    return runner


async def busy(engine: AsyncEngine, runner: GatedRunner) -> "asyncio.Task[Classification]":
    """Close the gate and send one image; returns once the model call is in progress."""
    runner.gate.clear()
    task = asyncio.create_task(engine.classify(red(255)))
    assert await asyncio.to_thread(runner.begun.acquire, timeout=30)
    return task


async def queued(engine: AsyncEngine, count: int) -> None:
    """Wait until `count` images are decoded and queued for the model."""
    while engine.waiting < count:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("max_batch_size", "calls"), [(16, [1, 16, 16, 16, 15]), (64, [1, 63]), (1, [1] * 64)])
def test_images_queued_during_a_model_call_share_batches(max_batch_size: int, calls: list[int]) -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        others = [asyncio.create_task(engine.classify(red(value))) for value in range(63)]
        await queued(engine, 63)
        runner.gate.set()
        assert label(await first) == "red 255"
        assert [label(result) for result in await asyncio.gather(*others)] == [f"red {value}" for value in range(63)]

    assert run(scenario, max_batch_size=max_batch_size).batches == calls


def test_idle_model_runs_without_delay() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        for value in range(3):
            assert label(await engine.classify(red(value))) == f"red {value}"

    assert run(scenario).batches == [1, 1, 1]


def test_request_larger_than_a_batch_is_split() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        many = asyncio.create_task(engine.classify_many([red(value) for value in range(10)]))
        await queued(engine, 10)
        runner.gate.set()
        await first
        assert [label(result) for result in await many] == [f"red {value}" for value in range(10)]

    assert run(scenario, max_batch_size=4).batches == [1, 4, 4, 2]


def test_failed_image_does_not_affect_the_others() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        answers = await engine.classify_many([red(1), b"no image", red(2), pictures.huge_header()])
        assert [label(answers[0]), label(answers[2])] == ["red 1", "red 2"]
        assert isinstance(answers[1], ImageError)
        assert isinstance(answers[3], ServiceError)

    assert sum(run(scenario).batches) == 2


def test_full_queue_rejects_requests() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        accepted = asyncio.create_task(engine.classify_many([red(1), red(2)]))
        await queued(engine, 2)
        with pytest.raises(Overloaded, match="the queue holds 3 of at most 3 images"):
            await engine.classify(red(3))
        runner.gate.set()
        await first
        assert [label(result) for result in await accepted] == ["red 1", "red 2"]
        assert label(await engine.classify(red(3))) == "red 3"

    run(scenario, max_queue=3)


def test_request_larger_than_the_queue_is_too_large() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        with pytest.raises(RequestTooLarge, match="4 images in one request exceed the limit of 3"):
            await engine.classify_many([red(1)] * 4)
        assert len(await engine.classify_many([red(1)] * 3)) == 3

    run(scenario, max_queue=3)


def test_request_of_a_dead_engine_is_not_ready_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        def died(*_: object, **__: object) -> None:
            raise NotReady("the engine has died", 7.0)

        monkeypatch.setattr(engine.instance, "submit", died)
        with pytest.raises(NotReady, match="has died") as caught:
            await engine.classify_many([red(1), red(2)])
        assert caught.value.retry_after == 7.0

    run(scenario)


def test_expired_request_fails_without_a_batch() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        with pytest.raises(DeadlineExceeded, match=r"timed out after 0\.05 s"):
            await engine.classify(red(1), timeout=0.05)
        runner.gate.set()
        await first
        assert label(await engine.classify(red(2))) == "red 2"

    assert run(scenario).batches == [1, 1]


def test_failed_model_call_does_not_affect_the_next() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        runner.fails = True
        with pytest.raises(InferenceFailed, match="out of memory"):
            await engine.classify(red(1))
        runner.fails = False
        assert label(await engine.classify(red(2))) == "red 2"

    run(scenario)


def test_close_finishes_accepted_requests_and_rejects_new_ones() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        second = asyncio.create_task(engine.classify(red(2)))
        await queued(engine, 1)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await engine.classify(red(3))
        runner.gate.set()
        await closing
        assert [label(await first), label(await second)] == ["red 255", "red 2"]

    run(scenario)


def test_top_k_is_sorted_and_limited_to_the_classes() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        answer = await engine.classify(red(9), top_k=3)
        assert [len(answer.predictions), answer.predictions[0].index] == [3, 9]
        everything = (await engine.classify(red(9), top_k=1000)).predictions
        assert len(everything) == 256
        assert sum(prediction.score for prediction in everything) == pytest.approx(1)
        assert everything == tuple(sorted(everything, key=lambda prediction: -prediction.score))

    run(scenario)

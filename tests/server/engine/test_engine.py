"""The engine: one answer each, batches by pulling, admission, deadlines, isolation, an orderly end."""

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


def play(scenario: Scenario, **limits: Any) -> GatedRunner:
    """Runs a scenario against a started engine."""
    runner = GatedRunner()

    async def main() -> None:
        async with asyncio.timeout(60), running(runner, **limits) as engine:
            await scenario(engine, runner)

    asyncio.run(main())
    return runner


async def busy(engine: AsyncEngine, runner: GatedRunner) -> "asyncio.Task[Classification]":
    """Shuts the gate and sends one image: returns once the model runs, and cannot finish."""
    runner.gate.clear()
    task = asyncio.create_task(engine.classify(red(255)))
    assert await asyncio.to_thread(runner.begun.acquire, timeout=30)
    return task


async def queued(engine: AsyncEngine, count: int) -> None:
    """Waits until so many images have been decoded and wait for the model."""
    while engine.waiting < count:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("max_batch_size", "calls"), [(16, [1, 16, 16, 16, 15]), (64, [1, 63]), (1, [1] * 64)])
def test_what_waits_while_the_model_runs_is_answered_together(max_batch_size: int, calls: list[int]) -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        others = [asyncio.create_task(engine.classify(red(value))) for value in range(63)]
        await queued(engine, 63)
        runner.gate.set()
        assert label(await first) == "red 255"
        assert [label(answer) for answer in await asyncio.gather(*others)] == [f"red {value}" for value in range(63)]

    assert play(scenario, max_batch_size=max_batch_size).batches == calls


def test_an_idle_model_is_not_kept_waiting() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        for value in range(3):
            assert label(await engine.classify(red(value))) == f"red {value}"

    assert play(scenario).batches == [1, 1, 1]


def test_a_request_larger_than_a_batch_is_split() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        many = asyncio.create_task(engine.classify_many([red(value) for value in range(10)]))
        await queued(engine, 10)
        runner.gate.set()
        await first
        assert [label(answer) for answer in await many] == [f"red {value}" for value in range(10)]

    assert play(scenario, max_batch_size=4).batches == [1, 4, 4, 2]


def test_a_bad_image_takes_no_other_with_it() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        answers = await engine.classify_many([red(1), b"no image", red(2), pictures.huge_header()])
        assert [label(answers[0]), label(answers[2])] == ["red 1", "red 2"]
        assert isinstance(answers[1], ImageError)
        assert isinstance(answers[3], ServiceError)

    assert sum(play(scenario).batches) == 2


def test_a_full_queue_refuses_before_any_work() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        accepted = asyncio.create_task(engine.classify_many([red(1), red(2)]))
        await queued(engine, 2)
        with pytest.raises(Overloaded, match="the queue holds 3 of at most 3 images"):
            await engine.classify(red(3))
        runner.gate.set()
        await first
        assert [label(answer) for answer in await accepted] == ["red 1", "red 2"]
        assert label(await engine.classify(red(3))) == "red 3"

    play(scenario, max_queue=3)


def test_more_images_than_ever_fit_are_no_reason_to_come_again() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        with pytest.raises(RequestTooLarge, match="4 images in one request exceed the limit of 3"):
            await engine.classify_many([red(1)] * 4)
        assert len(await engine.classify_many([red(1)] * 3)) == 3

    play(scenario, max_queue=3)


def test_a_request_whose_engine_died_is_not_ready_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        def died(*_: object, **__: object) -> None:
            raise NotReady("the engine has died", 7.0)

        monkeypatch.setattr(engine.instance, "submit", died)
        with pytest.raises(NotReady, match="has died") as caught:
            await engine.classify_many([red(1), red(2)])
        assert caught.value.retry_after == 7.0

    play(scenario)


def test_an_expired_request_is_told_and_costs_no_batch() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        first = await busy(engine, runner)
        with pytest.raises(DeadlineExceeded, match=r"timed out after 0\.05 s"):
            await engine.classify(red(1), timeout=0.05)
        runner.gate.set()
        await first
        assert label(await engine.classify(red(2))) == "red 2"

    assert play(scenario).batches == [1, 1]


def test_a_failing_model_call_is_an_error_and_the_next_one_works() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        runner.fails = True
        with pytest.raises(InferenceFailed, match="out of memory, say"):
            await engine.classify(red(1))
        runner.fails = False
        assert label(await engine.classify(red(2))) == "red 2"

    play(scenario)


def test_closing_answers_what_was_accepted_and_refuses_the_rest() -> None:
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

    play(scenario)


def test_top_k_sorts_and_never_exceeds_the_classes() -> None:
    async def scenario(engine: AsyncEngine, runner: GatedRunner) -> None:
        answer = await engine.classify(red(9), top_k=3)
        assert [len(answer.predictions), answer.predictions[0].index] == [3, 9]
        everything = (await engine.classify(red(9), top_k=1000)).predictions
        assert len(everything) == 256
        assert sum(prediction.score for prediction in everything) == pytest.approx(1)
        assert everything == tuple(sorted(everything, key=lambda prediction: -prediction.score))

    play(scenario)

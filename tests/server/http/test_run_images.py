"""Running images: errors stay at their index, and a client that disconnects cancels the work."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from tessella.server.engine.results import Classification
from tessella.server.errors import ImageError, ServiceError
from tessella.server.http.request_context import RequestContext
from tessella.server.http.run_images import cancel_on_disconnect, require_all, run_images


class Client:
    """Request whose client disconnects when `gone` is set."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.state = SimpleNamespace(context=RequestContext("a"))

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def request(self) -> Request:
        return cast(Request, self)


def result(batch_size: int) -> Classification:
    return Classification(
        predictions=(), batch_size=batch_size, decode_seconds=0, queue_seconds=0.5, inference_seconds=0.25
    )


def test_errors_stay_at_their_index_and_timings_are_recorded() -> None:
    unreadable, undecodable = ImageError("empty"), ImageError("not an image")
    calls: list[list[bytes]] = []

    async def run(images: list[bytes]) -> list[Classification | ServiceError]:
        calls.append(images)
        return [result(2), undecodable]

    async def serve() -> tuple[list[Classification | ServiceError], RequestContext]:
        client = Client()
        return await run_images([b"a", unreadable, b"b"], run, client.request), client.state.context

    results, context = asyncio.run(serve())
    assert results == [result(2), unreadable, undecodable]
    assert calls == [[b"a", b"b"]]
    assert (context.batch_size, context.queue_seconds, context.inference_seconds) == (2, 0.5, 0.25)


def test_nothing_runs_without_a_readable_image() -> None:
    async def run(images: list[bytes]) -> list[Classification | ServiceError]:
        raise AssertionError("called")

    async def serve() -> list[Classification | ServiceError]:
        return await run_images([ImageError("empty")], run, Client().request)

    assert len(asyncio.run(serve())) == 1


def test_a_disconnect_cancels_the_block() -> None:
    async def serve() -> None:
        client = Client()

        async def work() -> None:
            async with cancel_on_disconnect(client.request):
                client.gone.set()
                await asyncio.sleep(30)

        with pytest.raises(ClientDisconnect):
            await work()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(serve())


def test_another_cancellation_is_passed_on() -> None:
    async def serve() -> None:
        async with cancel_on_disconnect(Client().request):
            await asyncio.sleep(30)

    async def cancel() -> None:
        task = asyncio.create_task(serve())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())


def test_require_all_raises_the_first_error_with_its_index() -> None:
    assert require_all([result(1), result(2)]) == [result(1), result(2)]
    failed: list[Classification | ServiceError] = [result(1), ImageError("not an image"), ImageError("empty")]
    with pytest.raises(ImageError, match="image 1: not an image"):
        require_all(failed)

"""Inference on a request's images, cancelled when the client disconnects. No model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from ..engine.results import ImageResult
from ..errors import ServiceError, raise_first_error

A = TypeVar("A", bound=ImageResult)
Run = Callable[[list[bytes]], Awaitable[list[A | ServiceError]]]


async def run_images(images: Sequence[bytes | ServiceError], run: Run[A], request: Request) -> list[A | ServiceError]:
    """Results in the order of `images`, where errors stay in place; `run` is called once, with the other images.

    Raises:
        ClientDisconnect: the client disconnected; images that were not yet in a batch are not computed.
    """
    readable = [image for image in images if isinstance(image, bytes)]
    async with cancel_on_disconnect(request):
        outputs = iter(await run(readable) if readable else [])
    results = [next(outputs) if isinstance(image, bytes) else image for image in images]
    request.state.context.record_timings([result for result in results if isinstance(result, ImageResult)])
    return results


def require_all(results: Sequence[A | ServiceError]) -> list[A]:
    """Results for a response that has no place for the error of a single image.

    Raises:
        ServiceError: the first error among the results; of several images, its message names the image's index.
    """
    raise_first_error(results)
    return [result for result in results if isinstance(result, ImageResult)]


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Context manager: cancel the block when the client disconnects. The request's body must have been read.

    Raises:
        ClientDisconnect: the client disconnected.
    """
    task, disconnected = asyncio.current_task(), False
    assert task is not None

    async def watch() -> None:
        nonlocal disconnected
        while (await request.receive())["type"] != "http.disconnect":
            pass
        disconnected = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not disconnected:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        watcher.cancel()

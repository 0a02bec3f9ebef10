"""A client that goes away while its images wait: nothing more is done for it. Knows no model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from ..engine.results import Answer
from ..errors import ServiceError, raise_first


@asynccontextmanager
async def while_there(request: Request) -> AsyncIterator[None]:
    """Cancels what is done inside when the client goes away. For a request whose body has been read.

    Raises:
        ClientDisconnect: it went away; there is nobody to answer.
    """
    inside, gone = asyncio.current_task(), False
    assert inside is not None

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        inside.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        inside.uncancel()
        raise ClientDisconnect from None
    finally:
        watching.cancel()


A = TypeVar("A", bound=Answer)
Run = Callable[[list[bytes]], Awaitable[list[A | ServiceError]]]


async def answer_readable(
    images: Sequence[bytes | ServiceError], run: Run[A], request: Request
) -> list[A | ServiceError]:
    """`run` gets the images that could be read, at once; what could not be read keeps its place among the results.

    Raises:
        ClientDisconnect: the client has gone; what was not in a batch yet costs none.
    """
    readable = [image for image in images if isinstance(image, bytes)]
    async with while_there(request):
        answers = iter(await run(readable) if readable else [])
    results = [next(answers) if isinstance(image, bytes) else image for image in images]
    done = [result for result in results if isinstance(result, Answer)]
    request.state.context.took(done)
    return results


def all_of(results: Sequence[A | ServiceError]) -> list[A]:
    """The results, where an answer has no place for the error of one image.

    Raises:
        ServiceError: the first that is among them; of several images it tells which one it is of.
    """
    raise_first(results)
    return [result for result in results if isinstance(result, Answer)]

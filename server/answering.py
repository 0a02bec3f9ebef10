"""What every route with images does: run those that could be read, keep the place of the others, note the times."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import Request

from .errors import ServiceError, raise_first
from .predictions import Answer
from .presence import while_there

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

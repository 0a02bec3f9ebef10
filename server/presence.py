"""A client that goes away while its images wait: nothing more is done for it. Knows no model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect


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

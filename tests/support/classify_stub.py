"""Stub of `/classify`: an HTTP server in a thread whose responses a test defines."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from tessella.benchmarks.photos import Photo

Handler = Callable[[bytes], Awaitable[web.StreamResponse]]

PHOTOS = [Photo(str(index), str(index).encode()) for index in range(4)]
"""Not JPEG files: the stub predicts the class that is their content."""
EXPECTED = {photo.name: int(photo.data) for photo in PHOTOS}


def classification(index: int, score: float = 0.5) -> web.Response:
    """Response with one prediction."""
    stages = {"decode": 1.0, "queue": 2.0, "inference": 3.0, "total": 7.0}
    return web.json_response({"results": [{"predictions": [{"index": index, "score": score}]}], "timings_ms": stages})


async def echo_class(body: bytes) -> web.StreamResponse:
    """Predict the class that is the content of the body."""
    return classification(int(body))


@contextmanager
def stub(handler: Handler = echo_class) -> Iterator[str]:
    """Context manager: URL of a server that calls `handler` for `/classify`, in an event loop of its own."""
    loop, listening, urls = asyncio.new_event_loop(), threading.Event(), list[str]()
    stopped = asyncio.Event()

    async def serve() -> None:
        async def classify(request: web.Request) -> web.StreamResponse:
            return await handler(await request.read())

        app = web.Application()
        app.router.add_post("/classify", classify)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        listening.set()
        await stopped.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        assert listening.wait(30)
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(30)
        loop.close()

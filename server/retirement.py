"""Engines that have been replaced: they answer what they have accepted, then their memory is freed."""

import asyncio

from .engine import AsyncEngine

GRACE_SECONDS = 2.0
"""Time for a request that got hold of the engine just before, and has not handed in its images yet."""


class Retirement:
    """All engines of one process that answer no new requests."""

    def __init__(self) -> None:
        self._retiring: dict[AsyncEngine, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    def of(self, engine: AsyncEngine) -> None:
        """Ends an engine when it is idle."""
        task = asyncio.create_task(self._retire(engine))
        self._retiring[engine] = task
        task.add_done_callback(lambda _: self._retiring.pop(engine, None))

    async def ended(self) -> None:
        """Returns when all that retire now have ended."""
        await asyncio.gather(*self._retiring.values())

    async def close(self) -> None:
        """Ends all of them, without the grace."""
        self._closing.set()
        await self.ended()

    async def _retire(self, engine: AsyncEngine) -> None:
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._closing.wait()
        except TimeoutError:
            pass
        await engine.close()

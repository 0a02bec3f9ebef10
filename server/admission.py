"""How many images one engine has at once: the rest is refused before any work is done for it. Knows no HTTP."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import NotReady, Overloaded
from .recorder import RequestRecorder


class Admission:
    """Belongs to one event loop.

    Args:
        model: for messages.
        limit: most images at once.
    """

    def __init__(self, model: str, limit: int, recorder: RequestRecorder) -> None:
        self._model = model
        self._limit = limit
        self._recorder = recorder
        self._held = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = True

    def refuse_if_full(self) -> None:
        """Before the images are even read.

        Raises:
            Overloaded: not one more image could be accepted now.
        """
        try:
            self._check_room(1)
        except Overloaded as error:
            self._recorder.failed(error)
            raise

    @contextmanager
    def of(self, count: int) -> Iterator[None]:
        """So many images are in the engine inside.

        Raises:
            NotReady: nothing is accepted any more.
            Overloaded: they are too many.
        """
        if not self._open:
            raise NotReady(f"model {self._model!r} takes no more requests: it is shutting down")
        self._check_room(count)
        self._held += count
        self._recorder.pending(count)
        self._idle.clear()
        try:
            yield
        finally:
            self._held -= count
            self._recorder.pending(-count)
            if not self._held:
                self._idle.set()

    async def close(self) -> None:
        """Accepts nothing more; returns when everything that was is answered."""
        self._open = False
        await self._idle.wait()

    def _check_room(self, count: int) -> None:
        if self._held + count > self._limit:
            raise Overloaded(f"{self._held} images are in the queue, at most {self._limit} are accepted")

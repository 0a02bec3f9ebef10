"""How many images one engine has at once: the rest is refused before any work is done for it. Knows no HTTP."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import NotReady, Overloaded, RequestTooLarge
from .request_metrics import RequestRecorder

_REMEMBERED = 64
_RECENT_SECONDS = 30.0


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
        self._left = deque[tuple[float, int]](maxlen=_REMEMBERED)
        """When images have left, and how many."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = True

    @property
    def full(self) -> bool:
        """Whether not one more image could be accepted now."""
        return self._held >= self._limit

    @property
    def clears_in(self) -> float | None:
        """Seconds in which all that is held will have left, at the rate of late; None while that is not known."""
        now = time.monotonic()
        recent = [(at, count) for at, count in self._left if now - at < _RECENT_SECONDS]
        if not recent:
            return None
        rate = sum(count for _, count in recent) / max(now - recent[0][0], 1e-3)
        return self._held / rate

    def reject_if_full(self) -> None:
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
    def reserve(self, count: int) -> Iterator[None]:
        """So many images are in the engine inside.

        Raises:
            NotReady: nothing is accepted any more.
            Overloaded: they are too many now.
            RequestTooLarge: they are more than ever fit.
        """
        if not self._open:
            raise NotReady(f"model {self._model!r} accepts no more requests: it is shutting down")
        self._check_room(count)
        self._held += count
        self._recorder.pending(count)
        self._idle.clear()
        try:
            yield
        finally:
            self._held -= count
            self._left.append((time.monotonic(), count))
            self._recorder.pending(-count)
            if not self._held:
                self._idle.set()

    async def close(self) -> None:
        """Accepts nothing more; returns when everything that was is answered."""
        self._open = False
        await self._idle.wait()

    def _check_room(self, count: int) -> None:
        if count > self._limit:
            raise RequestTooLarge(
                f"{count} images in one request exceed the limit of {self._limit} images in the queue"
            )
        if self._held + count > self._limit:
            message = f"the queue holds {self._held} of at most {self._limit} images; retry later"
            raise Overloaded(message, self.clears_in)

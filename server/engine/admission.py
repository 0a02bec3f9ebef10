"""Admission control: limit of images in one engine at once; more are rejected before any work is done. No HTTP."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import NotReady, Overloaded, RequestTooLarge
from .request_metrics import RequestRecorder

_MAX_COMPLETIONS = 64
_WINDOW_SECONDS = 30.0


class Admission:
    """Admission control of one engine. Belongs to one event loop.

    Args:
        model: name of the model, for messages.
        limit: maximum images at once.
    """

    def __init__(self, model: str, limit: int, recorder: RequestRecorder) -> None:
        self._model = model
        self._limit = limit
        self._recorder = recorder
        self._in_flight = 0
        self._completions = deque[tuple[float, int]](maxlen=_MAX_COMPLETIONS)
        """Time and number of images of the last completions."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = True

    @property
    def full(self) -> bool:
        """True if not a single image more can be accepted."""
        return self._in_flight >= self._limit

    @property
    def estimated_drain_seconds(self) -> float | None:
        """Estimated seconds until all images in flight complete, at the recent rate; None if there is no rate yet."""
        now = time.monotonic()
        recent = [(at, count) for at, count in self._completions if now - at < _WINDOW_SECONDS]
        if not recent:
            return None
        rate = sum(count for _, count in recent) / max(now - recent[0][0], 1e-3)
        return self._in_flight / rate

    def reject_if_full(self) -> None:
        """Reject a request whose images are not read yet.

        Raises:
            Overloaded: not a single image more can be accepted.
        """
        try:
            self._check_capacity(1)
        except Overloaded as error:
            self._recorder.record_failure(error)
            raise

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Context manager: reserve capacity for `count` images.

        Raises:
            NotReady: the engine is shutting down.
            Overloaded: there is no capacity for them now.
            RequestTooLarge: they exceed the limit by themselves.
        """
        if not self._open:
            raise NotReady(f"model {self._model!r} accepts no more requests: it is shutting down")
        self._check_capacity(count)
        self._in_flight += count
        self._recorder.add_pending(count)
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= count
            self._completions.append((time.monotonic(), count))
            self._recorder.add_pending(-count)
            if not self._in_flight:
                self._idle.set()

    async def close(self) -> None:
        """Accept no more images, and wait until none is in flight."""
        self._open = False
        await self._idle.wait()

    def _check_capacity(self, count: int) -> None:
        if count > self._limit:
            raise RequestTooLarge(
                f"{count} images in one request exceed the limit of {self._limit} images in the queue"
            )
        if self._in_flight + count > self._limit:
            message = f"the queue holds {self._in_flight} of at most {self._limit} images; retry later"
            raise Overloaded(message, self.estimated_drain_seconds)

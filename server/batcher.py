"""Requests that wait while the model runs are answered together. Knows no HTTP, no torch and no image.

Batching pulls: the worker asks for the next batch when it is free and gets whatever waits, most urgent first.
Nobody sleeps to make a batch larger; load makes the batches grow by itself.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Payload = TypeVar("Payload")
Result = TypeVar("Result")

DEFAULT_PRIORITY = 50


@dataclass(order=True, slots=True)
class Entry(Generic[Payload, Result]):
    """One payload that waits for its result. Ordered by priority (smaller is sooner), then by arrival."""

    priority: int
    arrival: int
    payload: Payload = field(compare=False)
    future: "Future[Result]" = field(compare=False, default_factory=Future)
    enqueued_at: float = field(compare=False, default_factory=time.perf_counter)


class Batcher(Generic[Payload, Result]):
    """A queue that is emptied in batches. `submit` from any thread; `take` from the worker's."""

    def __init__(self) -> None:
        self._waiting: list[Entry[Payload, Result]] = []
        self._arrivals = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, payload: Payload, *, priority: int = 0) -> "Future[Result]":
        """Queues `payload`. Cancelling the future takes it out before it costs a batch.

        Args:
            priority: 1 is most urgent; 0 stands for the default, which lies at 50.

        Raises:
            RuntimeError: the batcher is closed.
        """
        entry = Entry[Payload, Result](priority or DEFAULT_PRIORITY, next(self._arrivals), payload)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            heapq.heappush(self._waiting, entry)
            self._changed.notify()
        return entry.future

    def take(self, max_batch_size: int) -> Sequence[Entry[Payload, Result]]:
        """Blocks until something waits; at most `max_batch_size` entries. Empty once closed and drained.

        Every entry it returns is running: its future can no longer be cancelled and must be given a result.
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                batch: list[Entry[Payload, Result]] = []
                while self._waiting and len(batch) < max_batch_size:
                    entry = heapq.heappop(self._waiting)
                    if entry.future.set_running_or_notify_cancel():
                        batch.append(entry)
                    else:
                        self._dropped += 1
                if batch or self._closed:
                    return batch

    def forget_dropped(self) -> int:
        """How many entries were cancelled before they reached a batch, since this was last asked."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self) -> None:
        """Nothing more is accepted; what waits is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

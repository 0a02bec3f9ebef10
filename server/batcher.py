"""Requests that wait while the model runs are answered together. Knows no HTTP, no torch and no image.

Batching pulls: the worker asks for the next batch when it is free and gets whatever waits, most urgent first.
Nobody sleeps to make a batch larger; load makes the batches grow by itself.
"""

import heapq
import itertools
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

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
    alone: bool = field(compare=False, default=False)
    """It is a batch of its own, in its turn."""


Reason = Literal["full", "idle", "delay", "drain"]


class Batch(NamedTuple, Generic[Payload, Result]):
    """What one model call answers, and what dispatched it."""

    entries: list[Entry[Payload, Result]]
    reason: Reason


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

    def submit(self, payload: Payload, *, priority: int = 0, alone: bool = False) -> "Future[Result]":
        """Queues `payload`. Cancelling the future takes it out before it costs a batch.

        Args:
            priority: 1 is most urgent; 0 stands for the default, which lies at 50.
            alone: hand it out as a batch of its own, in its turn and without delay.

        Raises:
            RuntimeError: the batcher is closed.
        """
        entry = Entry[Payload, Result](priority or DEFAULT_PRIORITY, next(self._arrivals), payload, alone=alone)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            heapq.heappush(self._waiting, entry)
            self._changed.notify()
        return entry.future

    def take(self, max_batch_size: int, max_delay: float = 0.0) -> Batch[Payload, Result]:
        """Blocks until something waits. Empty once closed and drained.

        Every entry it returns is running: its future can no longer be cancelled and must be given a result.

        Args:
            max_delay: seconds for which the oldest entry may be held back so that more come; a full batch never waits.
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                delayed = self._wait_for_more(max_batch_size, max_delay)
                entries = self._pop(max_batch_size)
                if entries or self._closed:
                    full = len(entries) == max_batch_size
                    reason: Reason = "full" if full else "drain" if self._closed else "delay" if delayed else "idle"
                    return Batch(entries, reason)

    def _wait_for_more(self, max_batch_size: int, max_delay: float) -> bool:
        """Whether the delay was over before the batch was full."""
        if not max_delay or self._closed or self._waiting[0].alone:
            return False
        end = min(entry.enqueued_at for entry in self._waiting) + max_delay
        enough = self._changed.wait_for(
            lambda: len(self._waiting) >= max_batch_size or self._closed, timeout=max(0.0, end - time.perf_counter())
        )
        return not enough

    def _pop(self, most: int) -> list[Entry[Payload, Result]]:
        """The most urgent entries that are still wanted."""
        entries: list[Entry[Payload, Result]] = []
        while self._waiting and len(entries) < most:
            if entries and (entries[0].alone or self._waiting[0].alone):
                break
            entry = heapq.heappop(self._waiting)
            if entry.future.set_running_or_notify_cancel():
                entries.append(entry)
            else:
                self._dropped += 1
        return entries

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

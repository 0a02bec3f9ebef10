"""Dynamic batcher: a priority queue whose entries are taken in batches. No HTTP, no torch, no images.

Batching pulls: when the worker is idle, it takes all that is queued, most urgent first. There is no delay unless one
is set; batches grow with load. Payloads of different groups cannot share a model call and never share a batch; the
group of the most urgent payload is dispatched first.
"""

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from ..errors import DeadlineExceeded

Payload = TypeVar("Payload")
Result = TypeVar("Result")

DEFAULT_PRIORITY = 50
_EXCLUSIVE = -1
"""Group whose entries never share a batch, not even with each other."""


@dataclass(order=True, slots=True)
class Entry(Generic[Payload, Result]):
    """Queue entry: a payload and the future of its result. Ordered by priority (smaller is sooner), then by arrival."""

    priority: int
    arrival: int
    payload: Payload = field(compare=False)
    group: int = field(compare=False)
    deadline: float = field(compare=False, default=math.inf)
    future: "Future[Result]" = field(compare=False, default_factory=Future)
    enqueued_at: float = field(compare=False, default_factory=time.perf_counter)

    @property
    def exclusive(self) -> bool:
        """True if the entry is dispatched as a batch of its own."""
        return self.group == _EXCLUSIVE


DispatchReason = Literal["full", "idle", "delay", "drain"]
DropReason = Literal["cancelled", "expired"]


class Batch(NamedTuple, Generic[Payload, Result]):
    """Entries of one model call, all of one group, and the reason of the dispatch."""

    entries: list[Entry[Payload, Result]]
    reason: DispatchReason


class Batcher(Generic[Payload, Result]):
    """Priority queue that is emptied in batches. `submit` from any thread; `take` from the worker's thread.

    Args:
        on_drop: called for each entry that is dropped, in the worker's thread; must not call the batcher.
    """

    def __init__(self, on_drop: Callable[[DropReason], None] = lambda reason: None) -> None:
        self._heaps: dict[int, list[Entry[Payload, Result]]] = {}
        """Heap of entries by group; no empty ones."""
        self._arrivals = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._on_drop = on_drop

    def __len__(self) -> int:
        return sum(map(len, tuple(self._heaps.values())))

    def submit(
        self,
        payload: Payload,
        *,
        priority: int = 0,
        group: int = 0,
        exclusive: bool = False,
        deadline: float | None = None,
    ) -> "Future[Result]":
        """Queue a payload; returns the future of its result. Cancelling the future drops the payload.

        Args:
            priority: 1 is most urgent; 0: the default, 50.
            group: not negative; only entries of the same group share a batch.
            exclusive: dispatch it as a batch of its own, in order and without delay.
            deadline: on the clock of `time.monotonic`; if it passes in the queue, the future raises DeadlineExceeded.

        Raises:
            RuntimeError: the batcher is closed.
        """
        group = _EXCLUSIVE if exclusive else group
        entry = Entry[Payload, Result](
            priority or DEFAULT_PRIORITY, next(self._arrivals), payload, group, deadline or math.inf
        )
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            heapq.heappush(self._heaps.setdefault(group, []), entry)
            self._changed.notify()
        return entry.future

    def take(self, max_batch_size: int, max_delay: float = 0.0) -> Batch[Payload, Result]:
        """Take the next batch; blocks while the queue is empty. Returns an empty batch once closed and drained.

        The futures of its entries are running: they can no longer be cancelled, and must be given a result.

        Args:
            max_delay: maximum time in seconds to wait for a fuller batch, since the oldest entry; 0: no delay.
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._heaps or self._closed)
                delayed = self._wait_for_more(max_batch_size, max_delay)
                group = self._most_urgent()
                entries = [] if group is None else self._pop(group, max_batch_size)
                if entries or (self._closed and not self._heaps):
                    return Batch(entries, self._reason(len(entries) == max_batch_size, delayed))

    def take_if_full(self, max_batch_size: int) -> Batch[Payload, Result]:
        """Take a batch if a full one is queued; returns an empty batch otherwise, without waiting.

        Exclusive entries are never taken.
        """
        with self._changed:
            group = self._most_urgent()
            if group in (None, _EXCLUSIVE) or len(self._heaps[group]) < max_batch_size:
                return Batch([], "idle")
            entries = self._pop(group, max_batch_size)
            return Batch(entries, "full" if len(entries) == max_batch_size else "idle")

    def _wait_for_more(self, max_batch_size: int, max_delay: float) -> bool:
        """Wait for a full batch until the delay is over; returns True if the delay was over first."""
        if not max_delay or self._closed or self._most_urgent() in (None, _EXCLUSIVE):
            return False
        end = min(entry.enqueued_at for heap in self._heaps.values() for entry in heap) + max_delay
        full = self._changed.wait_for(
            lambda: self._closed or any(len(heap) >= max_batch_size for heap in self._heaps.values()),
            timeout=max(0.0, end - time.perf_counter()),
        )
        return not full

    def _reason(self, full: bool, delayed: bool) -> DispatchReason:
        if full:
            return "full"
        if self._closed:
            return "drain"
        return "delay" if delayed else "idle"

    def _most_urgent(self) -> int | None:
        """Group of the most urgent live entry, dropping dead ones at the front; None if the queue is empty."""
        for group, heap in list(self._heaps.items()):
            while heap and (heap[0].future.cancelled() or heap[0].deadline < time.monotonic()):
                self._start(heapq.heappop(heap))
            if not heap:
                del self._heaps[group]
        return min(self._heaps, key=lambda group: self._heaps[group][0], default=None)

    def _pop(self, group: int, max_entries: int) -> list[Entry[Payload, Result]]:
        """Pop a group's most urgent live entries; none that comes after an exclusive entry."""
        heap = self._heaps[group]
        barrier = None if group == _EXCLUSIVE else self._heaps.get(_EXCLUSIVE, (None,))[0]
        limit = 1 if group == _EXCLUSIVE else max_entries
        entries: list[Entry[Payload, Result]] = []
        while heap and len(entries) < limit and (barrier is None or heap[0] < barrier):
            entry = heapq.heappop(heap)
            if self._start(entry):
                entries.append(entry)
        if not heap:
            del self._heaps[group]
        return entries

    def _start(self, entry: Entry[Payload, Result]) -> bool:
        """Mark an entry as running; returns False if it is dropped, because it was cancelled or has expired."""
        if not entry.future.set_running_or_notify_cancel():
            self._on_drop("cancelled")
            return False
        if entry.deadline < time.monotonic():
            self._on_drop("expired")
            entry.future.set_exception(DeadlineExceeded("the deadline passed in the queue"))
            return False
        return True

    def close(self) -> None:
        """Accept no more entries; queued ones are still dispatched."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

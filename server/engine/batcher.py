"""Requests that wait while the model runs are answered together. Knows no HTTP, no torch and no image.

Batching pulls: the worker asks for the next batch when it is free and gets whatever waits, most urgent first.
Nobody sleeps to make a batch larger; load makes the batches grow by itself. Payloads of different groups, which one
model call cannot answer, never share a batch: the most urgent payload decides whose turn it is.
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
_ALONE = -1
"""The group whose entries share a batch with none, not even with each other."""


@dataclass(order=True, slots=True)
class Entry(Generic[Payload, Result]):
    """One payload that waits for its result. Ordered by priority (smaller is sooner), then by arrival."""

    priority: int
    arrival: int
    payload: Payload = field(compare=False)
    group: int = field(compare=False)
    deadline: float = field(compare=False, default=math.inf)
    future: "Future[Result]" = field(compare=False, default_factory=Future)
    enqueued_at: float = field(compare=False, default_factory=time.perf_counter)

    @property
    def alone(self) -> bool:
        """It is a batch of its own, in its turn."""
        return self.group == _ALONE


Reason = Literal["full", "idle", "delay", "drain"]
Dropped = Literal["cancelled", "expired"]


class Batch(NamedTuple, Generic[Payload, Result]):
    """What one model call answers, all of one group, and what dispatched it."""

    entries: list[Entry[Payload, Result]]
    reason: Reason


class Batcher(Generic[Payload, Result]):
    """A queue that is emptied in batches. `submit` from any thread; `take` from the worker's.

    Args:
        on_drop: told of each entry that leaves without a batch, in the worker's thread; it must not call the batcher.
    """

    def __init__(self, on_drop: Callable[[Dropped], None] = lambda reason: None) -> None:
        self._waiting: dict[int, list[Entry[Payload, Result]]] = {}
        """A heap for each group, never an empty one."""
        self._arrivals = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._on_drop = on_drop

    def __len__(self) -> int:
        return sum(map(len, tuple(self._waiting.values())))

    def submit(
        self,
        payload: Payload,
        *,
        priority: int = 0,
        group: int = 0,
        alone: bool = False,
        deadline: float | None = None,
    ) -> "Future[Result]":
        """Queues `payload`. Cancelling the future takes it out before it costs a batch.

        Args:
            priority: 1 is most urgent; 0 stands for the default, which lies at 50.
            group: not negative; only entries of one group share a batch.
            alone: hand it out as a batch of its own, in its turn and without delay.
            deadline: of `time.monotonic`; if its turn has not come then, its future has DeadlineExceeded.

        Raises:
            RuntimeError: the batcher is closed.
        """
        group = _ALONE if alone else group
        entry = Entry[Payload, Result](
            priority or DEFAULT_PRIORITY, next(self._arrivals), payload, group, deadline or math.inf
        )
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            heapq.heappush(self._waiting.setdefault(group, []), entry)
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
                group = self._most_urgent()
                entries = [] if group is None else self._pop(group, max_batch_size)
                if entries or (self._closed and not self._waiting):
                    full = len(entries) == max_batch_size
                    reason: Reason = "full" if full else "drain" if self._closed else "delay" if delayed else "idle"
                    return Batch(entries, reason)

    def take_if_full(self, max_batch_size: int) -> Batch[Payload, Result]:
        """Does not wait: a batch where a full one is there, to be run behind another; otherwise an empty one.

        An entry that is to be alone is left where it is.
        """
        with self._changed:
            group = self._most_urgent()
            if group in (None, _ALONE) or len(self._waiting[group]) < max_batch_size:
                return Batch([], "idle")
            entries = self._pop(group, max_batch_size)
            return Batch(entries, "full" if len(entries) == max_batch_size else "idle")

    def _wait_for_more(self, max_batch_size: int, max_delay: float) -> bool:
        """Whether the delay was over before the batch was full."""
        if not max_delay or self._closed or self._most_urgent() in (None, _ALONE):
            return False
        end = min(entry.enqueued_at for heap in self._waiting.values() for entry in heap) + max_delay
        enough = self._changed.wait_for(
            lambda: self._closed or any(len(heap) >= max_batch_size for heap in self._waiting.values()),
            timeout=max(0.0, end - time.perf_counter()),
        )
        return not enough

    def _most_urgent(self) -> int | None:
        """The group of the most urgent entry that is still wanted; None where there is none."""
        for group, heap in list(self._waiting.items()):
            while heap and (heap[0].future.cancelled() or heap[0].deadline < time.monotonic()):
                self._is_wanted(heapq.heappop(heap))
            if not heap:
                del self._waiting[group]
        return min(self._waiting, key=lambda group: self._waiting[group][0], default=None)

    def _pop(self, group: int, most: int) -> list[Entry[Payload, Result]]:
        """The group's most urgent entries that are still wanted. None passes an entry that is to be alone."""
        heap = self._waiting[group]
        barrier = None if group == _ALONE else self._waiting.get(_ALONE, (None,))[0]
        entries: list[Entry[Payload, Result]] = []
        while heap and len(entries) < (1 if group == _ALONE else most) and (barrier is None or heap[0] < barrier):
            entry = heapq.heappop(heap)
            if self._is_wanted(entry):
                entries.append(entry)
        if not heap:
            del self._waiting[group]
        return entries

    def _is_wanted(self, entry: Entry[Payload, Result]) -> bool:
        """Whether an entry is to be in a batch: it runs then. If not, that is told and its future is done."""
        if not entry.future.set_running_or_notify_cancel():
            self._on_drop("cancelled")
            return False
        if entry.deadline < time.monotonic():
            self._on_drop("expired")
            entry.future.set_exception(DeadlineExceeded("its time was over before its turn came"))
            return False
        return True

    def close(self) -> None:
        """Nothing more is accepted; what waits is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

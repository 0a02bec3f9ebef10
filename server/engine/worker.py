"""Worker: a thread that takes batches from the queue, runs the model and resolves the images' futures."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...models.execution.compile_events import on_compile
from ...models.preprocessing.images import InputImage
from ..errors import InferenceFailed
from ..observability.metrics import Metrics
from .batcher import Batch, Batcher, Entry
from .request_metrics import BatchRecorder
from .runner import PipelinedRunner, Runner, RunnerInfo, SynchronousRunner
from .tasks import Task

T = TypeVar("T")
ExclusiveWork = Callable[[Runner], Any]
"""Work other than a batch of images that needs the model's thread."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inference:
    """Result of one image: its row of a batch's result, and durations in seconds."""

    values: NDArray[np.float32]
    """Result of the task, in its announced shape; for logits (classes,)."""
    batch_size: int
    queue_seconds: float
    inference_seconds: float


class ModelInstance(Protocol):
    """Model instance that an engine submits images to: a worker in this process, or a client of one in another."""

    info: RunnerInfo
    max_batch_size: int

    @property
    def available(self) -> bool:
        """False while the process that runs the model is being restarted."""
        ...

    @property
    def waiting(self) -> int:
        """Number of submitted images that are not in a batch yet."""
        ...

    def submit(
        self, image: InputImage, *, priority: int = 0, task: Task = Task.LOGITS, deadline: float | None = None
    ) -> "Future[Inference]":
        """Submit an image; returns the future of its result, which raises ServiceError on failure.

        Cancelling the future drops the image if it is not in a batch yet.

        Args:
            image: preprocessed, unless `info.resizes`.
            priority: 1 is most urgent; 0: the default.
            task: one of `info.results`.
            deadline: on the clock of `time.monotonic`; DeadlineExceeded if it passes in the queue.
        """
        ...

    def close(self) -> None:
        """Finish all submitted images. Blocks until then."""
        ...


@dataclass(slots=True)
class _Call:
    """Model call in flight."""

    batch: Batch[Any, Inference]
    task: Task
    started: float
    handle: Any = None
    error: Exception | None = None


class Worker:
    """Worker of one model: a thread with a queue, a `ModelInstance`."""

    def __init__(
        self,
        runner: Runner,
        *,
        name: str,
        version: int = 1,
        max_batch_size: int,
        max_delay: float = 0.0,
        metrics: Metrics | None = None,
    ) -> None:
        self.info = runner.info
        self.max_batch_size = max_batch_size
        self.busy_since: float | None = None
        """Start of the running model call on the clock of `time.monotonic`; None between calls."""
        self._unwrapped = runner
        self._runner = runner if isinstance(runner, PipelinedRunner) else SynchronousRunner(runner)
        self._last_end = 0.0
        self._max_delay = max_delay
        self._recorder = BatchRecorder(metrics or Metrics(), name, version)
        self._batcher = Batcher[InputImage | ExclusiveWork, Any](self._recorder.record_dropped)
        self._thread = threading.Thread(target=self._work, name=f"model-{name}", daemon=True)

    def start(self) -> None:
        """Warm up at every batch size that the model is compiled for, then start the thread.

        A model without such sizes is warmed up at 1 and 2: in all runtimes, the first batch of another size was
        measured to be as fast as those after it.
        """
        side = self.info.preprocessing.size
        for task, sizes in (self.info.buckets or {Task.LOGITS: (1, 2)}).items():
            smaller = [size for size in sizes if size < self.max_batch_size]
            for size in (*smaller, self.max_batch_size) if self.info.buckets else sizes:
                self._runner.finish(self._runner.start(np.zeros((size, side, side, 3), np.uint8), task))
        self._recorder.record_compiles(0)
        self._thread.start()

    @property
    def available(self) -> bool:
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        return len(self._batcher)

    def submit(
        self, image: InputImage, *, priority: int = 0, task: Task = Task.LOGITS, deadline: float | None = None
    ) -> "Future[Inference]":
        """Submit an image, see `ModelInstance.submit`; InferenceFailed if the model call raised."""
        return self._batcher.submit(image, priority=priority, group=task, deadline=deadline)

    def run_exclusive(self, work: Callable[[Runner], T]) -> "Future[T]":
        """Run `work` on the model thread between two batches; returns the future of its result or exception.

        It waits for the images before it, and delays those after it.

        Raises:
            RuntimeError: the worker is closed.
        """
        return self._batcher.submit(work, exclusive=True)

    def close(self) -> None:
        """Finish all submitted images and end the thread. Blocks until then."""
        self._batcher.close()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        """Run batches until closed; a pipelined runner starts a full one while the previous one runs."""
        in_flight: deque[_Call] = deque()
        while True:
            if in_flight:
                batch = self._batcher.take_if_full(self.max_batch_size)
            else:
                batch = self._batcher.take(self.max_batch_size, self._max_delay)
            if not (batch.entries or in_flight):
                return
            if batch.entries and (call := self._start_batch(batch)):
                in_flight.append(call)
                if len(in_flight) < self._runner.depth:
                    continue
            if in_flight:
                self._finish_batch(in_flight.popleft())
                self.busy_since = time.monotonic() if in_flight else None

    def _on_compile(self, name: str) -> None:
        self._recorder.record_compiles(1)
        _log.warning("%s was compiled after the warm-up and delayed a request", name)

    def _start_batch(self, batch: Batch[Any, Any]) -> "_Call | None":
        """Start a batch; returns None if it is exclusive work, which is done."""
        started = time.perf_counter()
        self.busy_since = self.busy_since or time.monotonic()
        if batch.entries[0].exclusive:
            self._run_exclusive(batch.entries[0])
            self.busy_since = None
            return None
        call = _Call(batch, Task(batch.entries[0].group), started)
        try:
            with on_compile(self._on_compile):
                call.handle = self._runner.start([entry.payload for entry in batch.entries], call.task)
        except Exception as error:
            call.error = error
        return call

    def _finish_batch(self, call: "_Call") -> None:
        """Wait for a batch and resolve the futures of its entries."""
        entries, reason = call.batch
        try:
            if call.error is not None:
                raise call.error
            rows = self._runner.finish(call.handle)
            if rows.shape != (len(entries), *self.info.results[call.task]):
                raise RuntimeError(f"the model returned {call.task} of shape {rows.shape} for {len(entries)} images")
        except Exception as error:
            _log.exception("a model call with %d images failed", len(entries))
            self._last_end = time.perf_counter()
            for entry in entries:
                entry.future.set_exception(InferenceFailed(f"the model call failed: {error}"))
            return
        ended = time.perf_counter()
        elapsed, self._last_end = ended - max(call.started, self._last_end), ended
        self._recorder.record_batch(len(entries), elapsed, reason)
        for entry, row in zip(entries, rows, strict=True):
            entry.future.set_result(Inference(row, len(entries), call.started - entry.enqueued_at, elapsed))

    def _run_exclusive(self, entry: Entry[Any, Any]) -> None:
        try:
            entry.future.set_result(entry.payload(self._unwrapped))
        except Exception as error:
            entry.future.set_exception(error)

"""The thread that runs the model: takes what waits, runs it as one batch, gives everyone their own row."""

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
Errand = Callable[[Runner], Any]
"""Something else than a batch of images that needs the model's thread."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inference:
    """One image's row of a model call. Times in seconds."""

    values: NDArray[np.float32]
    """Of the shape that the model announced for the task; for logits (classes,)."""
    batch_size: int
    queue_seconds: float
    inference_seconds: float


class ModelInstance(Protocol):
    """Where an engine hands in images: a worker of this process, or one behind a socket."""

    info: RunnerInfo
    max_batch_size: int

    @property
    def available(self) -> bool:
        """Whether there is a model behind it at the moment."""
        ...

    @property
    def waiting(self) -> int:
        """Images handed in that are in no batch yet."""
        ...

    def submit(
        self, frame: InputImage, *, priority: int = 0, task: Task = Task.LOGITS, deadline: float | None = None
    ) -> "Future[Inference]":
        """A future of the image's result; ServiceError where there will be none.

        Args:
            frame: `ready`, unless `info.resizes`.
            task: one that the model has announced.
            deadline: of `time.monotonic`, which is one for all processes: DeadlineExceeded if its turn comes later.

        Cancelling the future takes the image out before it costs a batch.
        """
        ...

    def close(self) -> None:
        """Answers all that was handed in. Blocks until then."""
        ...


@dataclass(slots=True)
class _Call:
    """A batch that the model has been given."""

    batch: Batch[Any, Inference]
    task: Task
    started: float
    handle: Any = None
    error: Exception | None = None


class Worker:
    """One model, one thread, one queue."""

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
        """When the model call that is running began (`time.monotonic`), None between calls."""
        self._unwrapped = runner
        self._runner = runner if isinstance(runner, PipelinedRunner) else SynchronousRunner(runner)
        self._ended = 0.0
        self._max_delay = max_delay
        self._recorder = BatchRecorder(metrics or Metrics(), name, version)
        self._batcher = Batcher[InputImage | Errand, Any](self._recorder.dropped)
        self._thread = threading.Thread(target=self._work, name=f"model-{name}", daemon=True)

    def start(self) -> None:
        """Runs the model at every size of batch that it is compiled for, so that no request waits; then begins.

        A model that takes any size as it comes runs at batch 1 and 2: in none of the runtimes was the first batch of
        another size measured to be slower than those after it.
        """
        side = self.info.preprocessing.size
        for task, sizes in (self.info.buckets or {Task.LOGITS: (1, 2)}).items():
            smaller = [size for size in sizes if size < self.max_batch_size]
            for size in (*smaller, self.max_batch_size) if self.info.buckets else sizes:
                self._runner.finish(self._runner.start(np.zeros((size, side, side, 3), np.uint8), task))
        self._recorder.compiled(0)
        self._thread.start()

    @property
    def available(self) -> bool:
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        return len(self._batcher)

    def submit(
        self, frame: InputImage, *, priority: int = 0, task: Task = Task.LOGITS, deadline: float | None = None
    ) -> "Future[Inference]":
        """As ModelInstance; InferenceFailed where the model call raised."""
        return self._batcher.submit(frame, priority=priority, group=task, deadline=deadline)

    def run_exclusive(self, work: Callable[[Runner], T]) -> "Future[T]":
        """Runs `work` in the model's thread, in its turn between two batches: it waits for the images before it and
        those after wait for it. What it raises is the future's exception.

        Raises:
            RuntimeError: the worker is closed.
        """
        return self._batcher.submit(work, alone=True)

    def close(self) -> None:
        """Answers all that was submitted, then ends the thread. Blocks until then."""
        self._batcher.close()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        """One batch after another; where the runner can, a full one is begun while the one before it runs."""
        under_way: deque[_Call] = deque()
        while True:
            if under_way:
                batch = self._batcher.take_if_full(self.max_batch_size)
            else:
                batch = self._batcher.take(self.max_batch_size, self._max_delay)
            if not (batch.entries or under_way):
                return
            if batch.entries and (call := self._begin(batch)):
                under_way.append(call)
                if len(under_way) < self._runner.depth:
                    continue
            if under_way:
                self._finish(under_way.popleft())
                self.busy_since = time.monotonic() if under_way else None

    def _compiled(self, what: str) -> None:
        self._recorder.compiled(1)
        _log.warning("%s was compiled while a request waited: the warm-up has a gap", what)

    def _begin(self, batch: Batch[Any, Any]) -> "_Call | None":
        """A call that is under way; None where there is nothing to wait for."""
        started = time.perf_counter()
        self.busy_since = self.busy_since or time.monotonic()
        if batch.entries[0].alone:
            self._run(batch.entries[0])
            self.busy_since = None
            return None
        call = _Call(batch, Task(batch.entries[0].group), started)
        try:
            with on_compile(self._compiled):
                call.handle = self._runner.start([entry.payload for entry in batch.entries], call.task)
        except Exception as error:
            call.error = error
        return call

    def _finish(self, call: "_Call") -> None:
        """Everyone of the batch gets their own row, or why there is none."""
        entries, reason = call.batch
        try:
            if call.error is not None:
                raise call.error
            rows = self._runner.finish(call.handle)
            if rows.shape != (len(entries), *self.info.results[call.task]):
                raise RuntimeError(f"the model gave {call.task} of shape {rows.shape} for {len(entries)} images")
        except Exception as error:
            _log.exception("a model call with %d images failed", len(entries))
            self._ended = time.perf_counter()
            for entry in entries:
                entry.future.set_exception(InferenceFailed(f"the model call failed: {error}"))
            return
        ended = time.perf_counter()
        elapsed, self._ended = ended - max(call.started, self._ended), ended
        self._recorder.ran(len(entries), elapsed, reason)
        for entry, row in zip(entries, rows, strict=True):
            entry.future.set_result(Inference(row, len(entries), call.started - entry.enqueued_at, elapsed))

    def _run(self, errand: Entry[Any, Any]) -> None:
        try:
            errand.future.set_result(errand.payload(self._unwrapped))
        except Exception as error:
            errand.future.set_exception(error)

"""Benchmark runner: plans and runs benchmarks of models in this process, one at a time, each in a thread."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from ...models.checkpoints.sources import onnx_file
from ...models.packages import installed
from ..engine.worker import Worker
from ..errors import BadRequest, NotReady, Overloaded
from ..lifecycle import TaskSet
from ..repository import ModelRepository
from .history import History
from .measure import Measurement
from .schemas import BenchmarkRequest, Run

_POLLS, _POLL_SECONDS = 5, 0.02


class BenchmarkRunner:
    """Runner of benchmarks on workers of this process. Belongs to one event loop.

    Args:
        on_update: called in the event loop with every new state of a run.
    """

    def __init__(self, on_update: Callable[[Run], None]) -> None:
        self._on_update = on_update
        self._cancelled: dict[str, threading.Event] = {}
        self._tasks = TaskSet()

    async def start(self, worker: Worker, source: str, run: Run, neighbours: Sequence[Worker]) -> None:
        """Start a run in a thread.

        Args:
            source: of the worker's model.
            neighbours: all workers on the same device.

        Raises:
            Overloaded: one of them has work, and the request does not set `force`.
        """
        cancelled = self._cancelled[run.id] = threading.Event()
        if not run.request.force and await under_load(neighbours):
            del self._cancelled[run.id]
            raise Overloaded("the service is processing requests; benchmark it when it is idle, or set 'force': true")
        loop = asyncio.get_running_loop()

        def publish(update: Run) -> None:
            loop.call_soon_threadsafe(self._on_update, update)

        measurement = Measurement(worker, source, run, publish, cancelled)
        task = self._tasks.start(asyncio.to_thread(measurement.run))
        task.add_done_callback(lambda _: self._cancelled.pop(run.id, None))

    def cancel(self, id: str) -> None:
        """Cancel a run after its current model call; no effect on one that has ended."""
        if id in self._cancelled:
            self._cancelled[id].set()

    async def close(self) -> None:
        """Cancel all runs and wait for their end."""
        for cancelled in self._cancelled.values():
            cancelled.set()
        await self._tasks.join()


async def under_load(workers: Sequence[Worker]) -> bool:
    """True if any worker has images queued or running; polled several times, since a light load has gaps."""
    for _ in range(_POLLS):
        if any(worker.waiting or worker.busy_since is not None for worker in workers):
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False


class BenchmarkService(Protocol):
    """Benchmarks of the service's models, as seen by the routes."""

    history: History
    """Runs known to this process."""

    async def start(self, run: Run, source: str) -> Run:
        """Start a run; returns its current state.

        Args:
            source: of the run's model.

        Raises:
            BenchmarkRunning: another run has not ended.
            Overloaded: the service is processing requests.
            NotReady: the model's process is being restarted.
        """
        ...

    def cancel(self, id: str) -> None:
        """Cancel a run; no effect on one that has ended."""
        ...

    async def close(self) -> None:
        """Cancel the runs of this process and wait for their end."""
        ...


class LocalBenchmarks:
    """Benchmarks of models in this process, a `BenchmarkService`."""

    def __init__(self, repository: ModelRepository) -> None:
        self.history = History()
        self._repository = repository
        self._runner = BenchmarkRunner(self.history.update)

    async def start(self, run: Run, source: str) -> Run:
        """Start a run, see `BenchmarkService.start`."""
        instances = {str(model.spec): model.engine.instance for model in self._repository.versions if model.engine}
        workers = {name: instance for name, instance in instances.items() if isinstance(instance, Worker)}
        if run.served not in workers:
            raise NotReady(f"model {run.served!r} does not run in this process")
        self.history.add(run)
        try:
            await self._runner.start(workers[run.served], source, run, list(workers.values()))
        except Exception:
            self.history.remove(run.id)
            raise
        return self.history.get(run.id)

    def cancel(self, id: str) -> None:
        self._runner.cancel(id)

    async def close(self) -> None:
        await self._runner.close()


def plan_run(request: BenchmarkRequest, repository: ModelRepository) -> tuple[Run, str]:
    """Create a queued run from a request; returns it and the source of its model.

    Raises:
        ModelNotFound, NotReady: the model is not served, or not ready.
        BadRequest: the model does not support the request.
    """
    engine, model = repository.engine(request.model), repository.find(request.model)
    info = engine.info
    if "batch_sizes" not in request.model_fields_set:
        sizes = [size for size in request.batch_sizes if size <= engine.max_batch_size]
        request = request.model_copy(update={"batch_sizes": sizes})
    if (batch_size := max(request.batch_sizes)) > engine.max_batch_size:
        raise BadRequest(f"batch size {batch_size} is larger than the model's maximum, {engine.max_batch_size}")
    if len(set(request.batch_sizes)) < len(request.batch_sizes):
        raise BadRequest("batch_sizes must not contain a size twice")
    if request.dtype not in (None, info.dtype):
        raise BadRequest(f"model {engine.name!r} is served in {info.dtype}, not in {request.dtype}")
    if request.against and onnx_file(model.spec.source) is not None:
        raise BadRequest(f"model {engine.name!r} is an ONNX file; 'against' needs a checkpoint")
    if request.against and not installed("torch"):
        raise BadRequest("'against' needs torch, which is not installed: pip install 'tessella[torch]'")
    run = Run(
        id=uuid.uuid4().hex[:12],
        request=request,
        model=model.name,
        version=model.version,
        backend=info.backend,
        device=info.device,
        dtype=info.dtype,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return run, model.spec.source

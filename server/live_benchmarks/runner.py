"""The process that has the models runs their benchmarks: one at a time, each measured in a thread."""

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

_LOOKS, _LOOK_SECONDS = 5, 0.02


class BenchmarkRunner:
    """Belongs to one event loop.

    Args:
        report: called in it with every change of a run.
    """

    def __init__(self, report: Callable[[Run], None]) -> None:
        self._report = report
        self._cancelled: dict[str, threading.Event] = {}
        self._tasks = TaskSet()

    async def start(self, worker: Worker, source: str, run: Run, neighbours: Sequence[Worker]) -> None:
        """Begins to measure.

        Args:
            source: the checkpoint of the worker's model.
            neighbours: all workers on the same device.

        Raises:
            Overloaded: one of them has work, and the run is not to be forced.
        """
        cancelled = self._cancelled[run.id] = threading.Event()
        if not run.request.force and await under_load(neighbours):
            del self._cancelled[run.id]
            raise Overloaded("the service is answering requests; measure when it is idle, or with 'force': true")
        loop = asyncio.get_running_loop()

        def report(news: Run) -> None:
            loop.call_soon_threadsafe(self._report, news)

        measurement = Measurement(worker, source, run, report, cancelled)
        task = self._tasks.start(asyncio.to_thread(measurement.run))
        task.add_done_callback(lambda _: self._cancelled.pop(run.id, None))

    def cancel(self, id: str) -> None:
        """The run ends after the model call that it waits for; one that has ended stays as it is."""
        if id in self._cancelled:
            self._cancelled[id].set()

    async def close(self) -> None:
        """Cancels what runs, and waits for its end."""
        for cancelled in self._cancelled.values():
            cancelled.set()
        await self._tasks.join()


async def under_load(workers: Sequence[Worker]) -> bool:
    """Whether images wait or run: looked at a few times, as a light load leaves gaps."""
    for _ in range(_LOOKS):
        if any(worker.waiting or worker.busy_since is not None for worker in workers):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


class BenchmarkService(Protocol):
    """`history`: what is known in this process."""

    history: History

    async def start(self, run: Run, source: str) -> Run:
        """Begins, as far as the answer can tell.

        Args:
            source: where the run's model was loaded from.

        Raises:
            BenchmarkRunning: another one has not ended.
            Overloaded: the service is answering requests.
            NotReady: the model's process is being restarted.
        """
        ...

    def cancel(self, id: str) -> None:
        """Asks a run to end; one that has ended stays as it is."""
        ...

    async def close(self) -> None:
        """Ends what runs here."""
        ...


class LocalBenchmarks:
    """Of models in this process."""

    def __init__(self, repository: ModelRepository) -> None:
        self.history = History()
        self._repository = repository
        self._bench = BenchmarkRunner(self.history.put)

    async def start(self, run: Run, source: str) -> Run:
        """As BenchmarkService."""
        ports = {str(model.spec): model.engine.instance for model in self._repository.versions if model.engine}
        workers = {name: port for name, port in ports.items() if isinstance(port, Worker)}
        if run.served not in workers:
            raise NotReady(f"model {run.served!r} does not run in this process")
        self.history.open(run)
        try:
            await self._bench.start(workers[run.served], source, run, list(workers.values()))
        except Exception:
            self.history.forget(run.id)
            raise
        return self.history.get(run.id)

    def cancel(self, id: str) -> None:
        self._bench.cancel(id)

    async def close(self) -> None:
        await self._bench.close()


def plan_run(request: BenchmarkRequest, repository: ModelRepository) -> tuple[Run, str]:
    """A run with an id, not begun, and the source of its model.

    Raises:
        ModelNotFound, NotReady: there is no such model, or not yet.
        BadRequest: the model cannot be measured so.
    """
    engine, model = repository.engine(request.model), repository.find(request.model)
    info = engine.info
    if "batch_sizes" not in request.model_fields_set:
        sizes = [size for size in request.batch_sizes if size <= engine.max_batch_size]
        request = request.model_copy(update={"batch_sizes": sizes})
    if (largest := max(request.batch_sizes)) > engine.max_batch_size:
        raise BadRequest(f"batch size {largest} is larger than the model's largest, {engine.max_batch_size}")
    if len(set(request.batch_sizes)) < len(request.batch_sizes):
        raise BadRequest("a batch size is named twice; name each once")
    if request.dtype not in (None, info.dtype):
        raise BadRequest(f"{engine.name} is served in {info.dtype}, not in {request.dtype}; what is served is measured")
    if request.against and onnx_file(model.spec.source) is not None:
        raise BadRequest(f"{engine.name} is an ONNX file, of which PyTorch has no network to be compared with")
    if request.against and not installed("torch"):
        raise BadRequest("eager PyTorch cannot be measured: torch is not installed here")
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

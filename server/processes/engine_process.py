"""Engine process: loads the models of one device and runs the front ends' requests. No HTTP."""

import asyncio
import logging
import socket
import time
from functools import partial

from ..engine.model_loader import model_options, start_worker
from ..engine.worker import Worker
from ..errors import NotReady, ServiceError
from ..lifecycle import TaskSet, abandon_after, force_exit_after, freeze_gc, run_in_thread
from ..live_benchmarks.runner import BenchmarkRunner
from ..live_benchmarks.schemas import Run
from ..model_names import NumberedSpec
from ..observability.metrics import Metrics
from ..settings import Settings
from ..shared_memory import SlotMemory
from .benchmark_relay import CANCEL, START, refused_message, update_message
from .control_channel import ControlChannel, Message, send_heartbeats
from .engine_endpoint import EngineEndpoint

_log = logging.getLogger(__name__)


class EngineProcess:
    """One device's models, loaded and unloaded as the supervisor requests.

    Args:
        control: this process's end of the control channel.
        models: all models of the service; those without a number are not loaded.
    """

    def __init__(self, control: socket.socket, settings: Settings, models: list[NumberedSpec]) -> None:
        self._settings = settings
        self._models = [model for model in models if model.number is not None]
        self._metrics = Metrics()
        self._workers: dict[int, Worker] = {}
        self._requests = asyncio.Queue[Message]()
        self._stopped = asyncio.Event()
        self._tasks = TaskSet()
        self._channel = ControlChannel(control, self._on_message, self._stopped.set)
        self._benchmarks = BenchmarkRunner(lambda run: self._channel.send(update_message(run)))

    async def run(self) -> None:
        """Serve until the supervisor sends `stop` or exits."""
        self._tasks.start(self._load_and_unload())
        self._tasks.start(send_heartbeats(self._channel, self._metrics, self._busy, self._devices))
        await self._stopped.wait()
        force_exit_after(self._settings.drain_timeout)
        await self._benchmarks.close()
        self._tasks.cancel()
        for worker in self._workers.values():
            await asyncio.to_thread(worker.close)

    async def _load_and_unload(self) -> None:
        """Load the initial models, then load and unload on request, one at a time, while loaded models serve."""
        for model in self._models:
            if not await self._load(model):
                return
        freeze_gc()
        self._channel.send({"kind": "engine_started"})
        while True:
            request = await self._requests.get()
            if request["kind"] == "load":
                await self._load(NumberedSpec(*request["model"]), self._settings.load_timeout)
            else:
                await self._unload(request["numbers"])

    async def _load(self, model: NumberedSpec, timeout: float | None = None) -> bool:
        """Load a model and report it to the supervisor. True if it succeeded."""
        number, name, version, _ = model
        assert number is not None
        identity: Message = {"number": number, "model": f"{name}:{version}"}
        start = time.monotonic()
        try:
            worker = await abandon_after(timeout, run_in_thread(partial(self._start_worker, model), Worker.close))
        except Exception as error:
            self._channel.send({"kind": "load_failed", "reason": str(error) or repr(error), **identity})
            return False
        self._workers[number] = worker
        properties = {
            "name": name,
            "max_batch_size": worker.max_batch_size,
            "slot_bytes": worker.info.slot_bytes(self._settings.max_gpu_resize_pixels),
            "info": worker.info.to_dict(),
            "load_seconds": time.monotonic() - start,
        }
        self._channel.send({"kind": "model_loaded", **identity, **properties})
        return True

    def _start_worker(self, model: NumberedSpec) -> Worker:
        settings = self._settings
        return start_worker(
            model.source,
            model.name,
            settings.max_batch_size,
            version=model.version,
            **model_options(settings),
            max_delay=settings.max_queue_delay_ms / 1e3,
            metrics=self._metrics,
        )

    async def _unload(self, numbers: list[int]) -> None:
        for number in numbers:
            if worker := self._workers.pop(number, None):
                await asyncio.to_thread(worker.close)
                _log.info("model %d unloaded from %s", number, self._settings.device)

    def _devices(self) -> list[str]:
        return [worker.info.device for worker in self._workers.values()]

    def _busy(self) -> Message:
        """Heartbeat key: how long the longest of the running model calls has been running."""
        starts = [worker.busy_since for worker in list(self._workers.values()) if worker.busy_since is not None]
        return {"busy_seconds": time.monotonic() - min(starts) if starts else 0.0}

    def _on_message(self, message: Message, descriptors: list[int]) -> None:
        match message["kind"]:
            case "connect":
                connection, memory = descriptors
                slots = SlotMemory(memory, message["slots"], message["slot_bytes"])
                self._tasks.start(self._connect(socket.socket(fileno=connection), slots))
            case "load" | "unload":
                self._requests.put_nowait(message)
            case "stop":
                self._stopped.set()
            case kind if kind == START:
                run = Run.model_validate(message["run"])
                self._tasks.start(self._run_benchmark(message["number"], message["source"], run))
            case kind if kind == CANCEL:
                self._benchmarks.cancel(message["id"])

    async def _run_benchmark(self, number: int, source: str, run: Run) -> None:
        try:
            if number not in self._workers:
                raise NotReady(f"model {run.served!r} has been unloaded")
            await self._benchmarks.start(self._workers[number], source, run, list(self._workers.values()))
        except ServiceError as error:
            self._channel.send(refused_message(run.id, error))

    async def _connect(self, connection: socket.socket, slots: SlotMemory) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: EngineEndpoint(slots, self._workers), connection)

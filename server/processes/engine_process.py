"""The process that owns a device: loads the models on it and answers the front ends' requests. Knows no HTTP."""

import asyncio
import logging
import socket
import time
from functools import partial

from ..engine.model_loader import choices_of, start_worker
from ..engine.worker import Worker
from ..errors import NotReady, ServiceError
from ..lifecycle import TaskSet, apart, end_within, given_up_after, spare_what_is_here
from ..live_benchmarks.runner import Bench
from ..live_benchmarks.schemas import Run
from ..model_names import NumberedSpec
from ..observability.metrics import Metrics
from ..settings import Settings
from ..shared_memory import Ring
from .benchmark_relay import CANCEL, START, news, refusal
from .control_channel import Channel, Document, beat
from .engine_endpoint import EngineLink

_log = logging.getLogger(__name__)


class EngineProcess:
    """One device's models. Tells the supervisor what it has, that it lives, and how long a model call has been running.

    Args:
        control: this process's end of the line to the supervisor, which says where front ends are and when to stop.
        models: those that are loaded, and those that are not.
    """

    def __init__(self, control: socket.socket, settings: Settings, models: list[NumberedSpec]) -> None:
        self._settings = settings
        self._models = [model for model in models if model.number is not None]
        self._metrics = Metrics()
        self._workers: dict[int, Worker] = {}
        self._orders = asyncio.Queue[Document]()
        self._stopped = asyncio.Event()
        self._tasks = TaskSet()
        self._channel = Channel(control, self._on_document, self._stopped.set)
        self._bench = Bench(lambda run: self._channel.send(news(run)))

    async def run(self) -> None:
        """Until the supervisor says stop, or has gone."""
        self._tasks.start(self._follow_orders())
        self._tasks.start(beat(self._channel, self._metrics, self._busy, self._devices))
        await self._stopped.wait()
        end_within(self._settings.drain_timeout)
        await self._bench.close()
        self._tasks.cancel()
        for worker in self._workers.values():
            await asyncio.to_thread(worker.close)

    async def _follow_orders(self) -> None:
        """Loads what it starts with; then loads and unloads as it is told, one after the other, while models run."""
        for model in self._models:
            if not await self._load(model):
                return
        spare_what_is_here()
        self._channel.send({"kind": "loaded"})
        while True:
            order = await self._orders.get()
            if order["kind"] == "load":
                await self._load(NumberedSpec(*order["model"]), self._settings.load_timeout)
            for number in order.get("numbers", ()):
                if worker := self._workers.pop(number, None):
                    await asyncio.to_thread(worker.close)
                    _log.info("model number %d has left %s", number, self._settings.device)

    async def _load(self, model: NumberedSpec, within: float | None = None) -> bool:
        number, name, version, source = model
        assert number is not None
        started = time.monotonic()
        settings, told = self._settings, {"number": number, "model": f"{name}:{version}"}
        try:
            load = partial(
                start_worker,
                source,
                name,
                settings.max_batch_size,
                version=version,
                **choices_of(settings),
                max_delay=settings.max_queue_delay_ms / 1e3,
                metrics=self._metrics,
            )
            worker = await given_up_after(within, apart(load, Worker.close))
        except Exception as error:
            self._channel.send({"kind": "failed", "reason": str(error) or repr(error), **told})
            return False
        self._workers[number] = worker
        info = worker.info
        slot_bytes = info.slot_bytes(settings.gpu_resize_pixels)
        announced = {"name": name, "max_batch_size": worker.max_batch_size, "slot_bytes": slot_bytes}
        announced |= {"info": info.to_document(), "load_seconds": time.monotonic() - started}
        self._channel.send({"kind": "model", **told, **announced})
        return True

    def _devices(self) -> list[str]:
        return [worker.info.device for worker in self._workers.values()]

    def _busy(self) -> Document:
        """For how long the longest of the running model calls has been running."""
        since = [worker.busy_since for worker in list(self._workers.values()) if worker.busy_since is not None]
        return {"busy_seconds": time.monotonic() - min(since) if since else 0.0}

    def _on_document(self, document: Document, descriptors: list[int]) -> None:
        match document["kind"]:
            case "link":
                connection, memory = descriptors
                ring = Ring(memory, document["slots"], document["slot_bytes"])
                self._tasks.start(self._link(socket.socket(fileno=connection), ring))
            case "load" | "unload":
                self._orders.put_nowait(document)
            case "stop":
                self._stopped.set()
            case kind if kind == START:
                self._tasks.start(
                    self._measure(document["number"], document["source"], Run.model_validate(document["run"]))
                )
            case kind if kind == CANCEL:
                self._bench.cancel(document["id"])

    async def _measure(self, number: int, source: str, run: Run) -> None:
        try:
            if number not in self._workers:
                raise NotReady(f"model {run.served!r} has just been unloaded")
            await self._bench.start(self._workers[number], source, run, list(self._workers.values()))
        except ServiceError as error:
            self._channel.send(refusal(run.id, error))

    async def _link(self, connection: socket.socket, ring: Ring) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: EngineLink(ring, self._workers), connection)

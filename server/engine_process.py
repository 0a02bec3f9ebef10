"""The process that owns a device: loads the models on it and answers the front ends' requests. Knows no HTTP."""

import asyncio
import socket
import time
from collections.abc import Coroutine

from .beat import beat
from .benchmarks.bench import Bench
from .benchmarks.desk import news
from .benchmarks.remote import CANCEL, START, refusal
from .benchmarks.schemas import Run
from .channel import Channel, Document
from .engine import start_worker
from .engine_link import EngineLink
from .errors import ServiceError
from .metrics import Metrics
from .ring import Ring
from .settings import Settings
from .worker import Worker


class EngineProcess:
    """One device's models. Tells the supervisor what it has, that it lives, and how long a model call has been running.

    Args:
        control: this process's end of the line to the supervisor, which says where front ends are and when to stop.
        models: served name -> source.
    """

    def __init__(self, control: socket.socket, settings: Settings, models: dict[str, str]) -> None:
        self._settings = settings
        self._sources = models
        self._metrics = Metrics()
        self._workers: list[Worker] = []
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel = Channel(control, self._on_document, self._stopped.set)
        self._bench = Bench(lambda run: self._channel.send(news(run)))

    async def run(self) -> None:
        """Until the supervisor says stop, or has gone."""
        self._start(self._load())
        self._start(beat(self._channel, self._metrics, self._busy, self._devices))
        await self._stopped.wait()
        await self._bench.close()
        for task in self._tasks:
            task.cancel()
        for worker in self._workers:
            await asyncio.to_thread(worker.close)

    async def _load(self) -> None:
        settings = self._settings
        for name, source in self._sources.items():
            try:
                worker = await asyncio.to_thread(
                    start_worker,
                    source,
                    name,
                    settings.max_batch_size,
                    device=settings.device,
                    dtype=settings.dtype,
                    backend=settings.backend,
                    batch_invariant=settings.batch_invariant,
                    max_delay=settings.max_queue_delay_ms / 1e3,
                    metrics=self._metrics,
                )
            except Exception as error:
                self._channel.send({"kind": "failed", "model": name, "reason": str(error) or repr(error)})
                return
            self._workers.append(worker)
            info = worker.info
            document = {"name": name, "max_batch_size": worker.max_batch_size, "slot_bytes": info.slot_bytes}
            document |= {"kind": "model", "index": len(self._workers) - 1, "info": info.to_document()}
            self._channel.send(document)
        self._channel.send({"kind": "loaded"})

    def _devices(self) -> list[str]:
        return [worker.info.device for worker in self._workers]

    def _busy(self) -> Document:
        """For how long the longest of the running model calls has been running."""
        since = [worker.busy_since for worker in self._workers if worker.busy_since is not None]
        return {"busy_seconds": time.monotonic() - min(since) if since else 0.0}

    def _on_document(self, document: Document, descriptors: list[int]) -> None:
        match document["kind"]:
            case "link":
                connection, memory = descriptors
                ring = Ring(memory, document["slots"], document["slot_bytes"])
                self._start(self._link(socket.socket(fileno=connection), ring))
            case "stop":
                self._stopped.set()
            case kind if kind == START:
                self._start(self._measure(document["index"], document["source"], Run.model_validate(document["run"])))
            case kind if kind == CANCEL:
                self._bench.cancel(document["id"])

    async def _measure(self, index: int, source: str, run: Run) -> None:
        try:
            await self._bench.start(self._workers[index], source, run, self._workers)
        except ServiceError as error:
            self._channel.send(refusal(run.id, error))

    async def _link(self, connection: socket.socket, ring: Ring) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: EngineLink(ring, self._workers), connection)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

"""The process that speaks HTTP: checks, admits and decodes, and hands pixels to engine processes."""

import asyncio
import socket
from functools import partial

from ..app import create_app
from ..http.service import Service
from ..http.uvicorn_config import Server, server_config
from ..lifecycle import TaskSet, spare_what_is_here
from ..model_names import NumberedSpec
from ..observability.metrics import Metrics, Snapshot
from ..settings import Settings
from ..shared_memory import Ring
from .benchmark_relay import RemoteBenchmarks
from .control_channel import Channel, Document, beat
from .engine_client import EngineConnection
from .remote_repository import RemoteModels


class FrontEnd:
    """One uvicorn server on the supervisor's listening socket.

    Args:
        control: this process's end of the line to the supervisor, which says where engines are and when to stop.
        models: those that are loaded, and those that are not.
        aliases: as they are now.
        rate_limit_file: the memory file of the keys' rates, where those are limited.
    """

    def __init__(
        self,
        control: socket.socket,
        listener: socket.socket,
        settings: Settings,
        models: list[NumberedSpec],
        aliases: dict[str, str],
        rate_limit_file: int | None = None,
    ) -> None:
        self._listener = listener
        metrics = Metrics()
        self._models = RemoteModels(settings, models, aliases, metrics, lambda document: self._channel.send(document))
        self._benchmarks = RemoteBenchmarks(lambda document: self._channel.send(document))
        self._service = Service(
            settings,
            self._models.repository,
            metrics,
            gather_metrics=self._gather,
            rate_limit_file=rate_limit_file,
            benchmarks=self._benchmarks,
        )
        self._server = Server(server_config(create_app(self._service, self._on_loaded), settings))
        self._gathered: list[asyncio.Future[list[Snapshot]]] = []
        self._orders = asyncio.Queue[tuple[Document, list[int]]]()
        self._channel = Channel(control, self._on_document, partial(setattr, self._server, "should_exit", True))

    async def run(self) -> None:
        """Until the supervisor says stop, or has gone, and what was accepted is answered."""
        tasks = TaskSet()
        tasks.start(beat(self._channel, self._service.metrics, dict))
        tasks.start(self._follow_orders())
        await self._server.serve(sockets=[self._listener])
        tasks.cancel()

    def _on_loaded(self) -> None:
        spare_what_is_here()
        self._channel.send({"kind": "ready"})

    def _on_document(self, document: Document, descriptors: list[int]) -> None:
        match document["kind"]:
            case "link" | "models":
                self._orders.put_nowait((document, descriptors))
            case "changed":
                self._models.on_changed(document)
            case "drain":
                self._service.draining = True
            case "metrics":
                answer = self._gathered.pop(0)
                if not answer.done():  # who asked may have gone
                    answer.set_result(document["snapshots"])
            case "stop":
                self._server.should_exit = True
            case kind if kind.startswith("benchmark"):
                self._benchmarks.on_document(document)

    async def _gather(self, own: Snapshot) -> list[Snapshot]:
        """What the other processes had counted when they were last heard of.

        Args:
            own: what is about to be told of this one; no process tells less from then on.
        """
        answer: asyncio.Future[list[Snapshot]] = asyncio.get_running_loop().create_future()
        self._gathered.append(answer)
        self._channel.send({"kind": "gather", "metrics": own})
        return await answer

    async def _follow_orders(self) -> None:
        """In their order: the connections over which a model is reached come before the word that it answers now."""
        while True:
            document, descriptors = await self._orders.get()
            if document["kind"] == "models":
                self._models.switch(document)
            else:
                await self._link(document, *descriptors)

    async def _link(self, document: Document, connection: int, memory: int) -> None:
        ring = Ring(memory, document["slots"], document["slot_bytes"])
        restart = sum(model["load_seconds"] for model in document["models"])
        loop = asyncio.get_running_loop()
        _, link = await loop.connect_accepted_socket(
            partial(EngineConnection, ring, restart), socket.socket(fileno=connection)
        )
        self._models.attach(document["engine"], link, document["models"])

"""The process that speaks HTTP: checks, admits and decodes, and hands pixels to engine processes."""

import asyncio
import socket
from functools import partial

import uvicorn

from .app import create_app
from .beat import beat
from .benchmarks.remote import RemoteBenchmarks
from .channel import Channel, Document
from .engine import AsyncEngine
from .errors import NotReady
from .metrics import Snapshot
from .remote import EngineConnection, RemoteModel
from .repository import ModelRepository, ServedModel
from .ring import Ring
from .runners import RunnerInfo
from .settings import Settings
from .state import Service
from .wanted import Wanted


class FrontEnd:
    """One uvicorn server on the supervisor's listening socket.

    Args:
        control: this process's end of the line to the supervisor, which says where engines are and when to stop.
        accounts: the memory file of the keys' rates, where those are limited.
    """

    def __init__(
        self, control: socket.socket, listener: socket.socket, settings: Settings, accounts: int | None = None
    ) -> None:
        self._listener = listener
        self._settings = settings
        loop = asyncio.get_running_loop()
        self._repository = ModelRepository(settings, self._engine_of, _Refused())
        self._announced: dict[str, asyncio.Future[RemoteModel]] = {
            str(model.wanted): loop.create_future() for model in self._repository.versions
        }
        self._benchmarks = RemoteBenchmarks(lambda document: self._channel.send(document))
        self._service = Service(
            settings, self._repository, gather=self._gather, accounts=accounts, benchmarks=self._benchmarks
        )
        self._server = uvicorn.Server(server_config(create_app(self._service, self._on_loaded), settings))
        self._gathered: list[asyncio.Future[list[Snapshot]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel = Channel(control, self._on_document, partial(setattr, self._server, "should_exit", True))

    async def run(self) -> None:
        """Until the supervisor says stop, or has gone, and what was accepted is answered."""
        beating = asyncio.create_task(beat(self._channel, self._service.metrics, dict))
        await self._server.serve(sockets=[self._listener])
        beating.cancel()

    async def _engine_of(self, model: ServedModel) -> AsyncEngine:
        settings = self._settings
        return AsyncEngine(
            await self._announced[str(model.wanted)],
            name=model.name,
            version=model.version,
            max_queue=share(settings),
            decode_threads=settings.decode_threads,
            max_pixels=settings.max_pixels,
            metrics=self._service.metrics,
        )

    def _on_loaded(self) -> None:
        self._channel.send({"kind": "ready"})

    def _on_document(self, document: Document, descriptors: list[int]) -> None:
        match document["kind"]:
            case "link":
                task = asyncio.create_task(self._link(document, *descriptors))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case "drain":
                self._service.draining = True
            case "metrics":
                self._gathered.pop(0).set_result(document["snapshots"])
            case "stop":
                self._server.should_exit = True
            case kind if kind.startswith("benchmark"):
                self._benchmarks.on_document(document)

    async def _gather(self) -> list[Snapshot]:
        """What the other processes had counted when they were last heard of."""
        answer: asyncio.Future[list[Snapshot]] = asyncio.get_running_loop().create_future()
        self._gathered.append(answer)
        self._channel.send({"kind": "gather"})
        return await answer

    async def _link(self, document: Document, connection: int, memory: int) -> None:
        """Connects with an engine; the models it has are now available through it."""
        ring = Ring(memory, document["slots"], document["slot_bytes"])
        loop = asyncio.get_running_loop()
        _, link = await loop.connect_accepted_socket(partial(EngineConnection, ring), socket.socket(fileno=connection))
        for announced in document["models"]:
            future = self._announced[announced["name"]]
            if not future.done():
                info = RunnerInfo.from_document(announced["info"])
                future.set_result(RemoteModel(announced["name"], info, announced["max_batch_size"]))
            future.result().attach(document["engine"], link, announced["index"])


class _Refused:
    """Until engine processes can be told."""

    async def load(self, wanted: Wanted) -> None:
        raise NotReady("models cannot be changed while engines are processes of their own")

    async def unload(self, models: list[Wanted]) -> None:
        raise NotReady("models cannot be changed while engines are processes of their own")


def share(settings: Settings) -> int:
    """Images that one front end accepts at once."""
    return -(-settings.max_queue // max(1, settings.frontends or 1))


def server_config(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )

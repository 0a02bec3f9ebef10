"""Front-end process: HTTP, admission and decoding; images are sent to engine processes."""

import asyncio
import socket
from functools import partial

from ..app import create_app
from ..http.service import Service
from ..http.uvicorn_config import Server, server_config
from ..lifecycle import TaskSet, freeze_gc
from ..model_names import NumberedSpec
from ..observability.metrics import Metrics, Snapshot
from ..settings import Settings
from ..shared_memory import SlotMemory
from .benchmark_relay import RemoteBenchmarks
from .control_channel import ControlChannel, Message, send_heartbeats
from .engine_client import EngineConnection
from .remote_repository import RemoteRepository


class FrontEndProcess:
    """One uvicorn server on the supervisor's listening socket.

    Args:
        control: this process's end of the control channel.
        models: all models of the service; those without a number are not loaded.
        aliases: alias -> model name.
        rate_limit_file: descriptor of the shared memory file of rate limits; None: no limits.
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
        self._models = RemoteRepository(settings, models, aliases, metrics, lambda message: self._channel.send(message))
        self._benchmarks = RemoteBenchmarks(lambda message: self._channel.send(message))
        self._service = Service(
            settings,
            self._models.repository,
            metrics,
            gather_metrics=self._collect_metrics,
            rate_limit_file=rate_limit_file,
            benchmarks=self._benchmarks,
        )
        self._server = Server(server_config(create_app(self._service, self._on_ready), settings))
        self._metrics_requests: list[asyncio.Future[list[Snapshot]]] = []
        self._updates = asyncio.Queue[tuple[Message, list[int]]]()
        self._channel = ControlChannel(control, self._on_message, self._stop)

    async def run(self) -> None:
        """Serve until the supervisor sends `stop` or exits, and all accepted requests are answered."""
        tasks = TaskSet()
        tasks.start(send_heartbeats(self._channel, self._service.metrics, dict))
        tasks.start(self._apply_updates())
        await self._server.serve(sockets=[self._listener])
        tasks.cancel()

    def _stop(self) -> None:
        self._service.draining = True
        self._server.should_exit = True

    def _on_ready(self) -> None:
        freeze_gc()
        self._channel.send({"kind": "ready"})

    def _on_message(self, message: Message, descriptors: list[int]) -> None:
        match message["kind"]:
            case "connect" | "set_models":
                self._updates.put_nowait((message, descriptors))
            case "rollout_result":
                self._models.on_rollout_result(message)
            case "drain":
                self._service.draining = True
            case "metrics":
                snapshots = self._metrics_requests.pop(0)
                if not snapshots.done():  # the client may have disconnected
                    snapshots.set_result(message["snapshots"])
            case "stop":
                self._stop()
            case kind if kind.startswith("benchmark"):
                self._benchmarks.on_message(message)

    async def _collect_metrics(self, own: Snapshot) -> list[Snapshot]:
        """Latest metrics snapshots of all other processes.

        Args:
            own: this process's snapshot, which the supervisor keeps: no later response of any process reports less.
        """
        snapshots: asyncio.Future[list[Snapshot]] = asyncio.get_running_loop().create_future()
        self._metrics_requests.append(snapshots)
        self._channel.send({"kind": "collect_metrics", "metrics": own})
        return await snapshots

    async def _apply_updates(self) -> None:
        """Apply connections and sets of models in the order received: a model is connected before it is served."""
        while True:
            message, descriptors = await self._updates.get()
            if message["kind"] == "set_models":
                self._models.set_models(message)
            else:
                await self._connect(message, *descriptors)

    async def _connect(self, message: Message, connection: int, memory: int) -> None:
        slots = SlotMemory(memory, message["slots"], message["slot_bytes"])
        restart_seconds = sum(model["load_seconds"] for model in message["models"])
        loop = asyncio.get_running_loop()
        _, engine = await loop.connect_accepted_socket(
            partial(EngineConnection, slots, restart_seconds), socket.socket(fileno=connection)
        )
        self._models.attach(message["engine"], engine, message["models"])

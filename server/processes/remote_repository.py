"""Model repository of a front end: the supervisor's set of models, reached through the engines that have them."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple

from ..engine.engine import AsyncEngine
from ..engine.model_loader import engine_limits
from ..engine.runner import RunnerInfo
from ..errors import LoadFailed, ModelNotFound, NotReady
from ..lifecycle import TaskSet
from ..model_names import ModelSpec, NumberedSpec
from ..observability.metrics import Metrics
from ..repository import ModelRepository
from ..served_model import ServedModel
from ..settings import Settings, frontend_queue_size
from .control_channel import Message
from .engine_client import EngineConnection, RemoteModel


class RemoteRepository:
    """Keeps `repository` equal to the supervisor's models; sends the changes that clients request to the supervisor.

    Args:
        models: all models of the service; those without a number are not loaded.
        aliases: alias -> model name.
        send: sends a message to the supervisor.
    """

    def __init__(
        self,
        settings: Settings,
        models: Iterable[NumberedSpec],
        aliases: Mapping[str, str],
        metrics: Metrics,
        send: Callable[[Message], None],
    ) -> None:
        models = list(models)
        self._settings = settings
        self._metrics = metrics
        self._send = send
        self._numbers = _numbers(models)
        self._remote: dict[int, asyncio.Future[RemoteModel]] = defaultdict(asyncio.get_running_loop().create_future)
        self._connections: dict[int, EngineConnection] = {}
        self._request_ids = itertools.count()
        self._requests: dict[int, asyncio.Future[None]] = {}
        self._tasks = TaskSet()
        served = [ServedModel(model.spec, unloaded=model.number is None) for model in models]
        self.repository = ModelRepository(settings, self._load_engine, served=served, aliases=aliases, control=self)

    async def load(self, spec: ModelSpec) -> None:
        """Model load on all processes; see `ModelControl.load`."""
        await self._request({"kind": "load", "models": [astuple(spec)]})

    async def unload(self, models: list[ModelSpec]) -> None:
        """Model unload on all processes; see `ModelControl.unload`."""
        await self._request({"kind": "unload", "models": [astuple(spec) for spec in models]})

    async def set_alias(self, alias: str, target: str | None) -> None:
        """Alias change on all processes; see `ModelControl.set_alias`."""
        await self._request({"kind": "alias", "alias": alias, "target": target})

    def on_rollout_result(self, message: Message) -> None:
        """Complete the request that the supervisor has carried out or rejected."""
        request = self._requests.pop(message["request_id"])
        if request.done():
            return
        if "error" in message:
            kind = LoadFailed if message["error_type"] == LoadFailed.error_type else NotReady
            request.set_exception(kind(message["error"]))
        else:
            request.set_result(None)

    def attach(self, engine: int, connection: EngineConnection, models: Iterable[Message]) -> None:
        """Use this connection for the engine's models from now on; its previous connection is drained.

        Args:
            engine: index of the engine.
            models: the engine's `model_loaded` messages.
        """
        for model in models:
            remote = self._remote[model["number"]]
            if not remote.done():
                info = RunnerInfo.from_dict(model["info"])
                remote.set_result(RemoteModel(model["name"], info, model["max_batch_size"]))
            remote.result().attach(engine, connection, model["number"])
        if previous := self._connections.get(engine):
            previous.drain()
        self._connections[engine] = connection

    def set_models(self, message: Message) -> None:
        """Serve exactly these models from now on.

        Acknowledged with `switched` at once, and with `released` when no request uses the previous ones.
        """
        models = [NumberedSpec(*row) for row in message["models"]]
        numbers = _numbers(models)
        for model in models:
            if model.number is not None and self._numbers.get(model.spec.key) != model.number:
                self._install(model.number, ServedModel(model.spec))
        removed = [number for key, number in self._numbers.items() if numbers.get(key) != number]
        for key in self._numbers.keys() - numbers.keys():
            self.repository.remove(*key)
        self._numbers = numbers
        self.repository.aliases = message["aliases"]
        self._send({"kind": "switched", "revision": message["revision"]})
        self._tasks.start(self._release(message["revision"], removed))

    def _install(self, number: int, model: ServedModel) -> None:
        remote = self._remote[number]
        if remote.done():
            model.engine = self._engine(model, remote.result())
        else:  # its engine died after loading it: available once that has restarted
            self._tasks.start(self._set_engine(number, model))
        self.repository.install(model)

    async def _set_engine(self, number: int, model: ServedModel) -> None:
        model.engine = self._engine(model, await self._remote[number])

    async def _release(self, revision: int, numbers: list[int]) -> None:
        await self.repository.drainer.join()
        for number in numbers:
            remote = self._remote[number]
            if not remote.done():
                remote.set_exception(ModelNotFound("the model was unloaded before it was ready"))
                remote.exception()  # marks it as retrieved: there may be no waiter
            del self._remote[number]
        self._send({"kind": "released", "revision": revision})

    async def _load_engine(self, model: ServedModel) -> AsyncEngine:
        return self._engine(model, await self._remote[self._numbers[model.spec.key]])

    def _engine(self, model: ServedModel, remote: RemoteModel) -> AsyncEngine:
        limits = engine_limits(self._settings, self._metrics, frontend_queue_size(self._settings))
        return AsyncEngine(remote, name=model.name, version=model.version, **limits)

    async def _request(self, message: Message) -> None:
        """Send a request to the supervisor and wait for its result."""
        id = next(self._request_ids)
        result = self._requests[id] = asyncio.get_running_loop().create_future()
        self._send(message | {"request_id": id})
        await result


def _numbers(models: Iterable[NumberedSpec]) -> dict[tuple[str, int], int]:
    """(name, version) -> number of all loaded models."""
    return {model.spec.key: model.number for model in models if model.number is not None}

"""The models of a front end: what the supervisor says is served, reached through the engines that have it."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple

from ..engine.engine import AsyncEngine
from ..engine.model_loader import limits_of
from ..engine.runner import RunnerInfo
from ..errors import LoadFailed, ModelNotServed, NotReady
from ..lifecycle import TaskSet
from ..model_names import ModelSpec, NumberedSpec
from ..observability.metrics import Metrics
from ..repository import ModelRepository
from ..served_model import ServedModel
from ..settings import Settings, share
from .control_channel import Document
from .engine_client import EngineConnection, RemoteModel


class RemoteModels:
    """Keeps `repository` as the supervisor has it, and takes what clients want changed to the supervisor.

    Args:
        models: those that are loaded, and those that are not.
        aliases: as they are now.
        send: takes a document to the supervisor.
    """

    def __init__(
        self,
        settings: Settings,
        models: Iterable[NumberedSpec],
        aliases: Mapping[str, str],
        metrics: Metrics,
        send: Callable[[Document], None],
    ) -> None:
        models = list(models)
        self._settings = settings
        self._metrics = metrics
        self._send = send
        self._numbers = _numbers(models)
        self._remote: dict[int, asyncio.Future[RemoteModel]] = defaultdict(asyncio.get_running_loop().create_future)
        self._links: dict[int, EngineConnection] = {}
        self._tickets = itertools.count()
        self._orders: dict[int, asyncio.Future[None]] = {}
        self._tasks = TaskSet()
        served = [ServedModel(model.spec, unloaded=model.number is None) for model in models]
        self.repository = ModelRepository(settings, self._engine_of, served=served, aliases=aliases, changes=self)

    async def load(self, spec: ModelSpec) -> None:
        """As Changes."""
        await self._ask("load", [spec])

    async def unload(self, models: list[ModelSpec]) -> None:
        """As Changes."""
        await self._ask("unload", models)

    async def name(self, alias: str, target: str | None) -> None:
        """As Changes."""
        await self._order({"kind": "alias", "alias": alias, "target": target})

    def on_changed(self, document: Document) -> None:
        """The supervisor has done, or could not do, what was asked of it."""
        order = self._orders.pop(document["ticket"])
        if order.done():
            return
        if "error" in document:
            kind = LoadFailed if document["error_type"] == LoadFailed.error_type else NotReady
            order.set_exception(kind(document["error"]))
        else:
            order.set_result(None)

    def attach(self, engine: int, link: EngineConnection, models: Iterable[Document]) -> None:
        """From now on these models are reached on this engine by this connection; the one it had is given up."""
        for announced in models:
            remote = self._remote[announced["number"]]
            if not remote.done():
                info = RunnerInfo.from_document(announced["info"])
                remote.set_result(RemoteModel(announced["name"], info, announced["max_batch_size"]))
            remote.result().attach(engine, link, announced["number"])
        if old := self._links.get(engine):
            old.retire()
        self._links[engine] = link

    def switch(self, document: Document) -> None:
        """From now on exactly these models answer; the supervisor is told so, and when no request is on others."""
        models = [NumberedSpec(*row) for row in document["models"]]
        now = _numbers(models)
        for model in models:
            if model.number is not None and self._numbers.get(model.spec.key) != model.number:
                self._install(model.number, ServedModel(model.spec))
        gone = [number for key, number in self._numbers.items() if now.get(key) != number]
        for key in self._numbers.keys() - now.keys():
            self.repository.remove(*key)
        self._numbers = now
        self.repository.aliases = document["aliases"]
        self._send({"kind": "switched", "turn": document["turn"]})
        self._tasks.start(self._release(document["turn"], gone))

    def _install(self, number: int, model: ServedModel) -> None:
        remote = self._remote[number]
        if remote.done():
            model.engine = self._engine(model, remote.result())
        else:  # its engine has died since: as soon as it is back
            self._tasks.start(self._fill(number, model))
        self.repository.install(model)

    async def _fill(self, number: int, model: ServedModel) -> None:
        model.engine = self._engine(model, await self._remote[number])

    async def _release(self, turn: int, numbers: list[int]) -> None:
        await self.repository.retirement.ended()
        for number in numbers:
            remote = self._remote[number]
            if not remote.done():
                remote.set_exception(ModelNotServed("it was unloaded before it was there"))
                remote.exception()  # not all have somebody who waits
            del self._remote[number]
        self._send({"kind": "released", "turn": turn})

    async def _engine_of(self, model: ServedModel) -> AsyncEngine:
        return self._engine(model, await self._remote[self._numbers[model.spec.key]])

    def _engine(self, model: ServedModel, remote: RemoteModel) -> AsyncEngine:
        limits = limits_of(self._settings, self._metrics, share(self._settings))
        return AsyncEngine(remote, name=model.name, version=model.version, **limits)

    async def _ask(self, kind: str, models: list[ModelSpec]) -> None:
        await self._order({"kind": kind, "models": [astuple(one) for one in models]})

    async def _order(self, document: Document) -> None:
        ticket = next(self._tickets)
        order = self._orders[ticket] = asyncio.get_running_loop().create_future()
        self._send(document | {"ticket": ticket})
        await order


def _numbers(models: Iterable[NumberedSpec]) -> dict[tuple[str, int], int]:
    """The numbers of loaded models by name and version."""
    return {model.spec.key: model.number for model in models if model.number is not None}

"""The supervisor's set of models, and its change in step over all processes: no request sees half of it.

A model is loaded and warm on every engine before any front end hears of it, and every front end answers with it before
its client is told. What it replaces leaves the engines when no front end has a request on it any more.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping

from ..errors import LoadFailed, NotReady, ServiceError
from ..lifecycle import TaskSet
from ..model_names import ModelSpec
from .children import Member, Members
from .control_channel import Document

_log = logging.getLogger(__name__)


class ModelChanges:
    """What is served, by numbers that are used once.

    Args:
        connect: gives a front end and an engine a new connection, over which every model of the engine is reached.
    """

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        aliases: Mapping[str, str],
        members: Members,
        connect: Callable[[Member, Member], None],
    ) -> None:
        self._numbers = itertools.count()
        self.models = {next(self._numbers): one for one in specs}
        self._unloaded: list[ModelSpec] = []
        self._aliases = dict(aliases)
        self._members = members
        self._connect = connect
        self._turns = itertools.count()
        self._awaited: dict[tuple[str, int], dict[Member, asyncio.Future[str]]] = {}
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()

    @property
    def document(self) -> Document:
        """Everything, for a process that knows nothing yet. Unloaded models have no number."""
        numbered = [one.numbered(number) for number, one in self.models.items()]
        unloaded = [one.numbered(None) for one in self._unloaded]
        return {"models": numbered + unloaded, "aliases": self._aliases}

    def on_order(self, front_end: Member, document: Document) -> None:
        """A client of this front end wants a change."""
        specs = [ModelSpec(*row) for row in document.get("models", ())]
        match document["kind"]:
            case "load":
                work = self._load(specs[0])
            case "unload":
                work = self._unload(specs)
            case _:
                work = self._name(document["alias"], document["target"])
        self._tasks.start(self._answer(front_end, document["ticket"], work))

    def on_model(self, engine: Member, document: Document) -> None:
        """An engine has a model."""
        number = document["number"]
        engine.models[number] = document
        if not self._answered("load", number, engine) and engine.loaded and number in self.models:
            for front_end in self._members.front_ends:
                self._connect(front_end, engine)

    def on_failure(self, engine: Member, document: Document) -> bool:
        """An engine could not load a model: whether somebody waits for that, or it can go on without."""
        engine.ordered.discard(document["number"])
        if not self._answered("load", document["number"], engine, document["reason"]):
            _log.error("%s could not load model %s: %s", engine, document["model"], document["reason"])
            return engine.loaded
        return True

    def on_turn(self, front_end: Member, document: Document) -> None:
        """A front end has `switched` to the models of a turn, or has `released` those it had before."""
        self._answered(document["kind"], document["turn"], front_end)

    def complete(self, engine: Member) -> None:
        """Orders what an engine lacks: it was starting while the models changed."""
        for number in self.models.keys() - engine.ordered:
            self._order(engine, number, self.models[number])

    def gone(self, member: Member) -> None:
        """A process has ended: nobody waits for it."""
        for futures in list(self._awaited.values()):
            if member in futures and not futures[member].done():
                futures[member].set_result(f"{member.kind} {member.index} ended")

    async def _load(self, spec: ModelSpec) -> None:
        number = next(self._numbers)
        engines = self._members.engines
        if not engines:
            raise NotReady("no engine runs at the moment; try again")
        loading = self._await("load", number, engines)
        for engine in engines:
            self._order(engine, number, spec)
        reasons = [reason for reason in await loading if reason]
        if reasons:
            self._forget([number])
            raise LoadFailed(f"model {spec} could not be loaded: {reasons[0]}")
        old = self._drop([spec])
        self.models[number] = spec
        for engine in self._members.loaded_engines:
            self.complete(engine)
            for front_end in self._members.front_ends:
                self._connect(front_end, engine)
        await self._switch(old)

    async def _unload(self, models: list[ModelSpec]) -> None:
        old = self._drop(models)
        self._unloaded += models
        await self._switch(old)

    async def _name(self, alias: str, target: str | None) -> None:
        """The front end has checked it; what has changed since is an error that a second try makes clear."""
        if target is None:
            self._aliases.pop(alias, None)
        else:
            names = {name for one in self.models.values() for name in (one.name, str(one))}
            if alias in names or target not in names:
                raise NotReady(f"the models have just changed: {alias!r} cannot mean {target!r}; look and try again")
            self._aliases[alias] = target
        await self._switch([])

    async def _switch(self, old: list[int]) -> None:
        turn = next(self._turns)
        front_ends = self._members.front_ends
        switched, released = self._await("switched", turn, front_ends), self._await("released", turn, front_ends)
        for front_end in front_ends:
            front_end.channel.send({"kind": "models", "turn": turn, **self.document})
        await switched

        async def forget() -> None:
            await released
            self._forget(old)

        self._tasks.start(forget())

    async def _answer(self, front_end: Member, ticket: int, work: Coroutine[None, None, None]) -> None:
        answer: Document = {"kind": "changed", "ticket": ticket}
        try:
            async with self._lock:
                await work
        except ServiceError as error:
            answer |= {"error": str(error), "error_type": error.error_type}
        front_end.channel.send(answer)

    def _drop(self, models: list[ModelSpec]) -> list[int]:
        """Takes these out of the set, whatever their source; returns the numbers they had."""
        keys = {one.key for one in models}
        old = [number for number, one in self.models.items() if one.key in keys]
        for number in old:
            del self.models[number]
        self._unloaded = [one for one in self._unloaded if one.key not in keys]
        return old

    def _order(self, engine: Member, number: int, spec: ModelSpec) -> None:
        engine.ordered.add(number)
        engine.channel.send({"kind": "load", "model": spec.numbered(number)})

    def _forget(self, numbers: list[int]) -> None:
        for engine in self._members.engines:
            engine.ordered.difference_update(numbers)
            for number in numbers:
                engine.models.pop(number, None)
            engine.channel.send({"kind": "unload", "numbers": numbers})

    async def _all(self, key: tuple[str, int]) -> list[str]:
        try:
            return list(await asyncio.gather(*self._awaited[key].values()))
        finally:
            del self._awaited[key]

    def _await(self, what: str, number: int, members: list[Member]) -> "asyncio.Task[list[str]]":
        """A task that ends when every one of these has answered, or has ended."""
        loop = asyncio.get_running_loop()
        self._awaited[what, number] = {member: loop.create_future() for member in members}
        return asyncio.create_task(self._all((what, number)))

    def _answered(self, what: str, number: int, member: Member, reason: str = "") -> bool:
        """Whether somebody waited for that."""
        future = self._awaited.get((what, number), {}).get(member)
        if future is None or future.done():
            return False
        future.set_result(reason)
        return True

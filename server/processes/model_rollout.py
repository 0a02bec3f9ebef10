"""Model rollout: load, unload and alias models on all processes of a service, atomically for clients.

A model is loaded and warmed up on every engine before any front end serves it, and served by every front end before the
client that requested it gets a response. Engines unload a replaced model when no front end has requests in flight.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping

from ..errors import LoadFailed, NotReady, ServiceError
from ..lifecycle import TaskSet
from ..model_names import ModelSpec
from .children import ChildProcess, ChildProcesses
from .control_channel import Message

_log = logging.getLogger(__name__)


class ModelRollout:
    """The supervisor's set of models, by numbers that are never reused.

    Args:
        connect: gives a front end a new connection to an engine, for all models of that engine.
    """

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        aliases: Mapping[str, str],
        children: ChildProcesses,
        connect: Callable[[ChildProcess, ChildProcess], None],
    ) -> None:
        self._numbers = itertools.count()
        self.models = {next(self._numbers): spec for spec in specs}
        self._unloaded: list[ModelSpec] = []
        self._aliases = dict(aliases)
        self._children = children
        self._connect = connect
        self._revisions = itertools.count()
        self._pending: dict[tuple[str, int], dict[ChildProcess, asyncio.Future[str]]] = {}
        """Acknowledgements not received yet, by kind and number of the model or revision."""
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()

    @property
    def state(self) -> Message:
        """Keys of the message that start a process or a revision. Unloaded models have no number."""
        loaded = [spec.numbered(number) for number, spec in self.models.items()]
        unloaded = [spec.numbered(None) for spec in self._unloaded]
        return {"models": loaded + unloaded, "aliases": self._aliases}

    def on_request(self, front_end: ChildProcess, message: Message) -> None:
        """Carry out a client's request; the result is sent to its front end."""
        specs = [ModelSpec(*row) for row in message.get("models", ())]
        match message["kind"]:
            case "load":
                rollout = self._load(specs[0])
            case "unload":
                rollout = self._unload(specs)
            case _:
                rollout = self._set_alias(message["alias"], message["target"])
        self._tasks.start(self._respond(front_end, message["request_id"], rollout))

    def on_model_loaded(self, engine: ChildProcess, message: Message) -> None:
        number = message["number"]
        engine.models[number] = message
        if not self._acknowledge("load", number, engine) and engine.started and number in self.models:
            for front_end in self._children.front_ends:
                self._connect(front_end, engine)

    def on_load_failed(self, engine: ChildProcess, message: Message) -> bool:
        """True if the service can continue: a client gets the error, or the engine serves its other models."""
        engine.assigned.discard(message["number"])
        if not self._acknowledge("load", message["number"], engine, message["reason"]):
            _log.error("%s could not load model %s: %s", engine, message["model"], message["reason"])
            return engine.started
        return True

    def on_acknowledgement(self, front_end: ChildProcess, message: Message) -> None:
        """Record that a front end `switched` to a revision, or `released` the models of the previous one."""
        self._acknowledge(message["kind"], message["revision"], front_end)

    def assign_missing(self, engine: ChildProcess) -> None:
        """Load all models that the engine lacks because they were added while it started."""
        for number in self.models.keys() - engine.assigned:
            self._assign(engine, number, self.models[number])

    def on_exit(self, child: ChildProcess) -> None:
        """Resolve all acknowledgements that are expected of a process that has exited."""
        for pending in list(self._pending.values()):
            if child in pending and not pending[child].done():
                pending[child].set_result(f"{child.kind} {child.index} exited")

    async def _load(self, spec: ModelSpec) -> None:
        number = next(self._numbers)
        engines = self._children.engines
        if not engines:
            raise NotReady("all engines are restarting; try again")
        loading = self._acknowledgements("load", number, engines)
        for engine in engines:
            self._assign(engine, number, spec)
        errors = [error for error in await loading if error]
        if errors:
            self._unload_from_engines([number])
            raise LoadFailed(f"model {spec} could not be loaded: {errors[0]}")
        replaced = self._remove([spec])
        self.models[number] = spec
        for engine in self._children.started_engines:
            self.assign_missing(engine)
            for front_end in self._children.front_ends:
                self._connect(front_end, engine)
        await self._publish(replaced)

    async def _unload(self, models: list[ModelSpec]) -> None:
        removed = self._remove(models)
        self._unloaded += models
        await self._publish(removed)

    async def _set_alias(self, alias: str, target: str | None) -> None:
        """Set or, without a target, delete an alias. The front end has validated it against an older revision."""
        if target is None:
            self._aliases.pop(alias, None)
        else:
            names = {name for spec in self.models.values() for name in (spec.name, str(spec))}
            if alias in names or target not in names:
                raise NotReady(f"the models changed meanwhile: {alias!r} cannot be an alias of {target!r}; try again")
            self._aliases[alias] = target
        await self._publish([])

    async def _publish(self, removed: list[int]) -> None:
        """Wait until all front ends serve the new revision; unload removed models when they have been released."""
        revision = next(self._revisions)
        front_ends = self._children.front_ends
        switched = self._acknowledgements("switched", revision, front_ends)
        released = self._acknowledgements("released", revision, front_ends)
        for front_end in front_ends:
            front_end.channel.send({"kind": "set_models", "revision": revision, **self.state})
        await switched

        async def unload_when_released() -> None:
            await released
            self._unload_from_engines(removed)

        self._tasks.start(unload_when_released())

    async def _respond(self, front_end: ChildProcess, request_id: int, rollout: Coroutine[None, None, None]) -> None:
        result: Message = {"kind": "rollout_result", "request_id": request_id}
        try:
            async with self._lock:
                await rollout
        except ServiceError as error:
            result |= {"error": str(error), "error_type": error.error_type}
        front_end.channel.send(result)

    def _remove(self, models: list[ModelSpec]) -> list[int]:
        """Remove all models with these names and versions, whatever their source; returns their numbers."""
        keys = {spec.key for spec in models}
        removed = [number for number, spec in self.models.items() if spec.key in keys]
        for number in removed:
            del self.models[number]
        self._unloaded = [spec for spec in self._unloaded if spec.key not in keys]
        return removed

    def _assign(self, engine: ChildProcess, number: int, spec: ModelSpec) -> None:
        engine.assigned.add(number)
        engine.channel.send({"kind": "load", "model": spec.numbered(number)})

    def _unload_from_engines(self, numbers: list[int]) -> None:
        for engine in self._children.engines:
            engine.assigned.difference_update(numbers)
            for number in numbers:
                engine.models.pop(number, None)
            engine.channel.send({"kind": "unload", "numbers": numbers})

    def _acknowledgements(self, kind: str, number: int, children: list[ChildProcess]) -> "asyncio.Task[list[str]]":
        """A task that waits until each child has acknowledged or exited; returns error messages, "" for success."""
        loop = asyncio.get_running_loop()
        self._pending[kind, number] = {child: loop.create_future() for child in children}
        return asyncio.create_task(self._gather((kind, number)))

    async def _gather(self, key: tuple[str, int]) -> list[str]:
        try:
            return list(await asyncio.gather(*self._pending[key].values()))
        finally:
            del self._pending[key]

    def _acknowledge(self, kind: str, number: int, child: ChildProcess, error: str = "") -> bool:
        """True if that acknowledgement was expected."""
        future = self._pending.get((kind, number), {}).get(child)
        if future is None or future.done():
            return False
        future.set_result(error)
        return True

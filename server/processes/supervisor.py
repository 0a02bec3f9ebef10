"""Starts front ends and engines, connects them, restarts what dies or hangs, ends them in order. Sees no request."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from typing import Literal

from ..http.rate_limit import create_rate_limit_file
from ..lifecycle import TaskSet
from ..model_names import model_specs
from ..observability.metrics import Metrics, merge, without_gauges
from ..settings import Settings, share
from ..shared_memory import memory_file
from .benchmark_relay import Desk
from .children import Member, Members
from .control_channel import Channel, Document, channel_pair
from .model_rollout import ModelChanges

_log = logging.getLogger(__name__)
READY = "ready: open %s in a browser, or post an image to its /classify"
_WATCH_SECONDS = 0.25
_LOAD_SECONDS = 300.0
_SMALLEST_SLOT = 4096
_MOST_ATTEMPTS = 5
_LONGEST_BACK_OFF_SECONDS = 30.0


class Supervisor:
    """The parent of all processes of one service; owns its listening socket.

    Args:
        settings: `frontends` at least 1; `api_key` holds every key; `device` may name several, separated by commas: one
            engine each.
    """

    def __init__(self, settings: Settings, listener: socket.socket, address: str) -> None:
        self._settings = settings
        self._listener = listener
        self._address = address
        self._devices = settings.device.split(",")
        self._members = Members()
        specs = model_specs(settings.model, settings.models, settings.aliases)
        self._changes = ModelChanges(specs, settings.aliases, self._members, self._link)
        self._attempts: dict[tuple[str, int], int] = {}
        self._tasks = TaskSet()
        self._stopping = asyncio.Event()
        self._failure = ""
        self._metrics = Metrics()
        self._rate_limit_file = create_rate_limit_file(len(settings.api_key)) if settings.rate_limit else None
        self._desk = Desk(self._members)
        self._retired = merge([])
        """What processes that have ended had counted: counters never go back."""

    async def run(self) -> int:
        """Until SIGTERM, SIGINT or a failure that a restart cannot mend. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        for index in range(len(self._devices)):
            await self._spawn("engine", index)
        for index in range(self._settings.frontends or 1):
            await self._spawn("frontend", index)
        watching = asyncio.create_task(self._watch())
        await self._stopping.wait()
        watching.cancel()
        await self._drain()
        if self._failure:
            _log.error("%s", self._failure)
        return 1 if self._failure else 0

    async def _spawn(self, kind: Literal["engine", "frontend"], index: int) -> None:
        ours, theirs = channel_pair()
        inherited = [theirs.fileno()]
        if kind == "frontend":
            inherited += [
                self._listener.fileno(),
                *([self._rate_limit_file] if self._rate_limit_file is not None else []),
            ]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tessella.server.processes.child_main", kind, str(theirs.fileno())),
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C is for the supervisor, which then ends them in order
        )
        theirs.close()
        channel = Channel(ours, lambda document, _: self._on_document(member, document), lambda: None)
        member = Member(kind, index, process, channel)
        self._members.add(member)
        _log.info("%s started", member)
        settings = self._settings
        if kind == "engine":
            settings = settings.model_copy(update={"device": self._devices[index]})
            member.ordered = set(self._changes.models)
        start = {"settings": settings.model_dump(mode="json"), **self._changes.document}
        channel.send(start | {"listener": self._listener.fileno(), "rate_limit_file": self._rate_limit_file})
        for engine in self._members.loaded_engines if kind == "frontend" else ():
            self._link(member, engine)
        if kind == "frontend":
            self._desk.welcome(member)
        self._tasks.start(self._wait(member))

    async def _wait(self, member: Member) -> None:
        """Restarts the member when it ends, unless everything does."""
        code = await member.process.wait()
        self._members.discard(member)
        self._changes.gone(member)
        member.channel.close()
        self._desk.gone(member)
        self._retired = without_gauges(merge([self._retired, member.metrics]))
        if self._stopping.is_set():
            return
        self._metrics.count("tessella_restarts", process=member.kind)
        await self._start_again(member.kind, member.index, f"{member} ended with code {code}")

    async def _start_again(self, kind: Literal["engine", "frontend"], index: int, reason: str) -> None:
        key = kind, index
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        if attempts > _MOST_ATTEMPTS:
            self._fail(f"{kind} {index} died {attempts} times before it was ready")
            return
        back_off = min(_LONGEST_BACK_OFF_SECONDS, 0.1 * 4 ** (attempts - 1))
        _log.error("%s; restarting in %.1f s", reason, back_off)
        await asyncio.sleep(back_off)
        if self._stopping.is_set():
            return
        try:
            await self._spawn(kind, index)
        except OSError as error:  # no descriptor, no memory, no process left
            await self._start_again(kind, index, f"{kind} {index} could not be started: {error}")

    def _on_document(self, member: Member, document: Document) -> None:
        member.heard_at = time.monotonic()
        match document["kind"]:
            case "beat":
                member.busy_seconds = document.get("busy_seconds", 0.0)
                member.metrics = document["metrics"]
            case "gather":
                member.metrics = document["metrics"]
                others = [other.metrics for other in self._members if other is not member]
                snapshots = [self._metrics.snapshot(), self._retired, *others]
                member.channel.send({"kind": "metrics", "snapshots": snapshots})
            case "model":
                _log.info("engine %d: model %s is loaded", member.index, document["model"])
                self._changes.on_model(member, document)
            case "failed":
                if not self._changes.on_failure(member, document):
                    self._fail(f"model {document['model']} could not be loaded: {document['reason']}")
            case "loaded":
                member.loaded = True
                self._attempts.pop((member.kind, member.index), None)
                for front_end in self._members.front_ends:
                    self._link(front_end, member)
                self._changes.complete(member)
            case "load" | "unload" | "alias":
                self._changes.on_order(member, document)
            case "switched" | "released":
                self._changes.on_turn(member, document)
            case "ready":
                member.ready = True
                self._attempts.pop((member.kind, member.index), None)
                if all(front_end.ready for front_end in self._members.front_ends):
                    _log.info(READY, self._address)
            case kind if kind.startswith("benchmark"):
                self._desk.on_document(member, document)

    def _link(self, front_end: Member, engine: Member) -> None:
        """Gives both an end of a new connection and the memory of its slots."""
        slot_bytes = max([_SMALLEST_SLOT, *(model["slot_bytes"] for model in engine.models.values())])
        slots = share(self._settings)
        memory = memory_file(slots * slot_bytes)
        ends = socket.socketpair()
        document = {"kind": "link", "engine": engine.index, "slots": slots, "slot_bytes": slot_bytes}
        front_end.channel.send(document | {"models": list(engine.models.values())}, [ends[0].fileno(), memory])
        engine.channel.send(document, [ends[1].fileno(), memory])
        os.close(memory)
        for end in ends:
            end.close()

    async def _watch(self) -> None:
        """Kills a process that has not been heard of, or whose model call has not ended, for `hang_timeout`.

        Nobody for as long after this process was itself stopped, as by `docker pause`: so were the others.
        """
        limit = self._settings.hang_timeout
        now = judging_from = time.monotonic()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            before, now = now, time.monotonic()
            if now - before > limit / 2:
                judging_from = now + limit
            for member in list(self._members) if now >= judging_from else ():
                silent = now - member.heard_at
                if max(silent, member.busy_seconds) > (limit if member.settled else max(limit, _LOAD_SECONDS)):
                    _log.error("%s hangs (silent %.1f s, busy %.1f s): killed", member, silent, member.busy_seconds)
                    member.heard_at = time.monotonic()
                    member.process.kill()

    async def _drain(self) -> None:
        """Not ready, still serving for `drain_delay`; then front ends finish what they accepted; then engines end."""
        for front_end in self._members.front_ends:
            front_end.channel.send({"kind": "drain"})
        if not self._failure:
            await asyncio.sleep(self._settings.drain_delay)
        self._listener.close()
        await self._stop(self._members.front_ends, self._settings.drain_timeout)
        await self._stop(self._members.engines, self._settings.drain_timeout)

    async def _stop(self, members: list[Member], timeout: float) -> None:
        for member in members:
            member.channel.send({"kind": "stop"})
        ends = [asyncio.create_task(member.process.wait()) for member in members]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=timeout + 1)
        for member in members if late else ():
            if member.process.returncode is None:
                _log.error("%s did not end within %.0f s: killed", member, timeout)
                member.process.kill()
        if late:
            await asyncio.wait(late)

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._stopping.set()

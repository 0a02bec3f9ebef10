"""Supervisor process: starts front ends and engines, connects them, restarts those that die or hang. No requests."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress

from ..http.rate_limit import create_rate_limit_file
from ..lifecycle import TaskSet, exit_now
from ..model_names import parse_model_specs
from ..observability.metrics import Metrics, merge, without_gauges
from ..settings import Settings, frontend_queue_size
from ..shared_memory import create_memory_file
from .benchmark_relay import BenchmarkRelay
from .children import ChildProcess, ChildProcesses, Kind
from .control_channel import ControlChannel, Message, channel_pair
from .model_rollout import ModelRollout

READY = "ready: open %s in a browser, or POST an image to /classify"
"""Log message once every front end serves requests."""
_WATCHDOG_INTERVAL_SECONDS = 0.25
_LOAD_HANG_SECONDS = 300.0
_MIN_SLOT_BYTES = 4096
_MAX_STARTS = 5
_MAX_BACKOFF_SECONDS = 30.0
_log = logging.getLogger(__name__)


class Supervisor:
    """Parent process of a service with several processes; owns the listening socket.

    Args:
        settings: `frontends` is at least 1; `api_key` holds all keys, those of `api_key_file` included; one engine is
            started for each of the comma-separated devices of `device`.
        address: URL of the service, for the log.
    """

    def __init__(self, settings: Settings, listener: socket.socket, address: str) -> None:
        self._settings = settings
        self._listener = listener
        self._address = address
        self._devices = settings.device.split(",")
        self._children = ChildProcesses()
        specs = parse_model_specs(settings.model, settings.models, settings.aliases)
        self._rollout = ModelRollout(specs, settings.aliases, self._children, self._connect)
        self._failed_starts: dict[tuple[Kind, int], int] = {}
        self._tasks = TaskSet()
        self._stopping = asyncio.Event()
        self._failure = ""
        self._metrics = Metrics()
        self._rate_limit_file = create_rate_limit_file(len(settings.api_key)) if settings.rate_limit else None
        self._benchmarks = BenchmarkRelay(self._children)
        self._exited_metrics = merge([])
        """Counters of processes that have exited: totals must not decrease."""

    async def run(self) -> int:
        """Supervise until SIGTERM, SIGINT or a failure that a restart cannot fix. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_signal, signum)
        for index in range(len(self._devices)):
            await self._spawn("engine", index)
        for index in range(self._settings.frontends or 1):
            await self._spawn("frontend", index)
        watchdog = asyncio.create_task(self._watchdog())
        await self._stopping.wait()
        watchdog.cancel()
        await self._drain()
        if self._failure:
            _log.error("%s", self._failure)
        return 1 if self._failure else 0

    async def _spawn(self, kind: Kind, index: int) -> None:
        ours, theirs = channel_pair()
        inherited = [theirs.fileno()]
        if kind == "frontend":
            inherited.append(self._listener.fileno())
            if self._rate_limit_file is not None:
                inherited.append(self._rate_limit_file)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tessella.server.processes.child_main", kind, str(theirs.fileno())),
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops children in order
        )
        theirs.close()
        channel = ControlChannel(ours, lambda message, _: self._on_message(child, message), lambda: None)
        child = ChildProcess(kind, index, process, channel)
        self._children.add(child)
        _log.info("%s started", child)
        self._send_start(child)
        if kind == "frontend":
            for engine in self._children.started_engines:
                self._connect(child, engine)
            self._benchmarks.add_front_end(child)
        self._tasks.start(self._restart_on_exit(child))

    def _send_start(self, child: ChildProcess) -> None:
        """Send the start message: settings, models, and the descriptors' numbers, which the child has inherited."""
        settings = self._settings
        if child.kind == "engine":
            settings = settings.model_copy(update={"device": self._devices[child.index]})
            child.assigned = set(self._rollout.models)
        start = {"settings": settings.model_dump(mode="json"), **self._rollout.state}
        child.channel.send(start | {"listener": self._listener.fileno(), "rate_limit_file": self._rate_limit_file})

    async def _restart_on_exit(self, child: ChildProcess) -> None:
        code = await child.process.wait()
        self._children.discard(child)
        self._rollout.on_exit(child)
        child.channel.close()
        self._benchmarks.on_exit(child)
        self._exited_metrics = without_gauges(merge([self._exited_metrics, child.metrics]))
        if self._stopping.is_set():
            return
        self._metrics.count("tessella_restarts_total", process=child.kind)
        await self._restart(child.kind, child.index, f"{child} exited with code {code}")

    async def _restart(self, kind: Kind, index: int, reason: str) -> None:
        starts = self._failed_starts[kind, index] = self._failed_starts.get((kind, index), 0) + 1
        if starts > _MAX_STARTS:
            self._fail(f"{kind} {index} died {starts} times before it was ready")
            return
        backoff = min(_MAX_BACKOFF_SECONDS, 0.1 * 4 ** (starts - 1))
        _log.error("%s; restarting in %.1f s", reason, backoff)
        await asyncio.sleep(backoff)
        if self._stopping.is_set():
            return
        try:
            await self._spawn(kind, index)
        except OSError as error:  # no file descriptors, memory or process ids available
            await self._restart(kind, index, f"{kind} {index} could not be started: {error}")

    def _on_message(self, child: ChildProcess, message: Message) -> None:
        child.last_message = time.monotonic()
        child.running = True
        match message["kind"]:
            case "heartbeat":
                child.busy_seconds = message.get("busy_seconds", 0.0)
                child.metrics = message["metrics"]
            case "collect_metrics":
                self._send_metrics(child, message)
            case "ready":
                self._on_ready(child)
            case "engine_started":
                self._on_engine_started(child)
            case "model_loaded":
                _log.info("engine %d: model %s is loaded", child.index, message["model"])
                self._rollout.on_model_loaded(child, message)
            case "load_failed":
                if not self._rollout.on_load_failed(child, message):
                    self._fail(f"model {message['model']} could not be loaded: {message['reason']}")
            case "load" | "unload" | "alias":
                self._rollout.on_request(child, message)
            case "switched" | "released":
                self._rollout.on_acknowledgement(child, message)
            case kind if kind.startswith("benchmark"):
                self._benchmarks.on_message(child, message)

    def _send_metrics(self, child: ChildProcess, message: Message) -> None:
        child.metrics = message["metrics"]
        others = [other.metrics for other in self._children if other is not child]
        snapshots = [self._metrics.snapshot(), self._exited_metrics, *others]
        child.channel.send({"kind": "metrics", "snapshots": snapshots})

    def _on_ready(self, front_end: ChildProcess) -> None:
        front_end.ready = True
        self._failed_starts.pop((front_end.kind, front_end.index), None)
        if all(child.ready for child in self._children.front_ends):
            _log.info(READY, self._address)

    def _on_engine_started(self, engine: ChildProcess) -> None:
        engine.started = True
        self._failed_starts.pop((engine.kind, engine.index), None)
        for front_end in self._children.front_ends:
            self._connect(front_end, engine)
        self._rollout.assign_missing(engine)

    def _connect(self, front_end: ChildProcess, engine: ChildProcess) -> None:
        """Send both processes their end of a new data connection and the memory of its slots."""
        slot_bytes = max([_MIN_SLOT_BYTES, *(model["slot_bytes"] for model in engine.models.values())])
        slots = frontend_queue_size(self._settings)
        memory = create_memory_file(slots * slot_bytes)
        ends = socket.socketpair()
        message = {"kind": "connect", "engine": engine.index, "slots": slots, "slot_bytes": slot_bytes}
        front_end.channel.send(message | {"models": list(engine.models.values())}, [ends[0].fileno(), memory])
        engine.channel.send(message, [ends[1].fileno(), memory])
        os.close(memory)
        for end in ends:
            end.close()

    async def _watchdog(self) -> None:
        """Kill processes that have sent no heartbeat, or whose model call has been running, for `hang_timeout`.

        After a pause of the supervisor itself (`docker pause`), all processes get that long to send a heartbeat.
        """
        timeout = self._settings.hang_timeout
        now = resume_at = time.monotonic()
        while True:
            await asyncio.sleep(_WATCHDOG_INTERVAL_SECONDS)
            previous, now = now, time.monotonic()
            if now - previous > timeout / 2:
                resume_at = now + timeout
            for child in list(self._children) if now >= resume_at else ():
                silent = now - child.last_message
                if max(silent, child.busy_seconds) > (max(timeout, _LOAD_HANG_SECONDS) if child.loading else timeout):
                    _log.error("%s hangs (silent %.1f s, busy %.1f s): killed", child, silent, child.busy_seconds)
                    child.last_message = time.monotonic()
                    child.process.kill()

    def _on_signal(self, number: int) -> None:
        """Stop the service; a second signal ends it at once."""
        if self._stopping.is_set():
            self._kill(list(self._children))
            exit_now(128 + number)
        self._stopping.set()

    async def _drain(self) -> None:
        """Serve as not ready for `drain_delay`; then stop front ends, which finish accepted requests; then engines.

        Processes that are still starting serve nothing and are killed. The listener is closed here first: the last
        front end that closes its copy has emptied the accept queue.
        """
        timeout = self._settings.drain_timeout
        self._kill([engine for engine in self._children.engines if not engine.started])
        self._kill([front_end for front_end in self._children.front_ends if not front_end.running])
        for front_end in self._children.front_ends:
            front_end.channel.send({"kind": "drain"})
        if not self._failure and any(front_end.ready for front_end in self._children.front_ends):
            await asyncio.sleep(self._settings.drain_delay)
        self._listener.close()
        while self._children.front_ends:  # one more may have been started meanwhile
            await self._stop(self._children.front_ends, timeout)
        await self._stop(self._children.engines, timeout)

    def _kill(self, children: list[ChildProcess]) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                child.process.kill()

    async def _stop(self, children: list[ChildProcess], timeout: float) -> None:
        for child in children:
            child.channel.send({"kind": "stop"})
        exits = [asyncio.create_task(child.process.wait()) for child in children]
        if not exits:
            return
        _, late = await asyncio.wait(exits, timeout=timeout + 1)
        for child in children if late else ():
            if child.process.returncode is None:
                _log.error("%s did not exit within %.0f s: killed", child, timeout)
                child.process.kill()
        if late:
            await asyncio.wait(late)

    def _fail(self, reason: str) -> None:
        """Stop the service with exit code 1."""
        self._failure = self._failure or reason
        self._stopping.set()

"""Benchmark relay: runs requested at a front end, measured in an engine process, coordinated by the supervisor."""

import asyncio
from collections.abc import Callable

from .. import errors
from ..errors import NotReady, ServiceError
from ..live_benchmarks.history import History
from ..live_benchmarks.schemas import Run
from .children import ChildProcess, ChildProcesses
from .control_channel import Message

START, CANCEL, UPDATE, REFUSED = (f"benchmark_{kind}" for kind in ("start", "cancel", "update", "refused"))
"""Message kinds. Front ends send START and CANCEL towards an engine; engines send UPDATE and REFUSED back."""

_ERRORS = {
    kind.error_type: kind for kind in (errors.BenchmarkRunning, errors.Overloaded, errors.NotReady, errors.BadRequest)
}


class RemoteBenchmarks:
    """Benchmarks of a front end: `Benchmarks` over the control channel. Its history is a copy of the supervisor's.

    Args:
        send: sends a message to the supervisor.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self.history = History()
        self._send = send
        self._starting: dict[str, asyncio.Future[None]] = {}

    async def start(self, run: Run, source: str) -> Run:
        """Benchmark start, requested at the supervisor; see `Benchmarks.start`."""
        started = self._starting[run.id] = asyncio.get_running_loop().create_future()
        self._send({"kind": START, "source": source, "run": run.model_dump(mode="json")})
        try:
            await started
        finally:
            del self._starting[run.id]
        return self.history.get(run.id)

    def cancel(self, id: str) -> None:
        self._send({"kind": CANCEL, "id": id})

    async def close(self) -> None:
        """Do nothing: the run continues in the engine."""

    def on_message(self, message: Message) -> None:
        """Apply an update, or the refusal of a run, from the supervisor."""
        if message["kind"] == REFUSED:
            self.history.remove(message["id"])
            self._resolve(message["id"], _ERRORS[message["error_type"]](message["error"]))
            return
        run = Run.model_validate(message["run"])
        self.history.update(run)
        if run.state != "queued":
            self._resolve(run.id, None)

    def _resolve(self, id: str, error: ServiceError | None) -> None:
        started = self._starting.get(id)
        if started is None or started.done():
            return
        if error is None:
            started.set_result(None)
        else:
            started.set_exception(error)


class BenchmarkRelay:
    """The supervisor's side: passes requests on to engines and updates on to every front end."""

    def __init__(self, children: ChildProcesses) -> None:
        self._history = History()
        self._children = children
        self._engine: ChildProcess | None = None
        """Engine of the current run."""

    def add_front_end(self, front_end: ChildProcess) -> None:
        """Send all runs so far, oldest first, to a new front end."""
        for run in reversed(self._history.runs):
            front_end.channel.send(update_message(run))

    def on_message(self, sender: ChildProcess, message: Message) -> None:
        match message["kind"]:
            case kind if kind == START:
                run = Run.model_validate(message["run"])
                try:
                    self._start(run, message)
                except ServiceError as error:
                    sender.channel.send(refused_message(run.id, error))
            case kind if kind == CANCEL and self._engine:
                self._engine.channel.send(message)
            case kind if kind == UPDATE:
                self._publish(Run.model_validate(message["run"]))
            case kind if kind == REFUSED:
                self._history.remove(message["id"])
                self._broadcast(message)

    def on_exit(self, child: ChildProcess) -> None:
        """Mark the current run as failed if the process that measured it has exited."""
        if child is self._engine and (run := self._history.current):
            failure = {"state": "failed", "stage": "failed", "error": "the engine died during the run"}
            self._publish(run.model_copy(update=failure))

    def _start(self, run: Run, message: Message) -> None:
        for engine in self._children.started_engines:
            for number, model in engine.models.items():
                if model["model"] == run.served:
                    self._history.add(run)
                    self._engine = engine
                    self._broadcast(update_message(run))
                    engine.channel.send(message | {"number": number})
                    return
        raise NotReady(f"the engine of model {run.served!r} is restarting")

    def _publish(self, run: Run) -> None:
        self._history.update(run)
        self._broadcast(update_message(run))

    def _broadcast(self, message: Message) -> None:
        for front_end in self._children.front_ends:
            front_end.channel.send(message)


def update_message(run: Run) -> Message:
    """UPDATE message with the run's current state."""
    return {"kind": UPDATE, "run": run.model_dump(mode="json")}


def refused_message(id: str, error: ServiceError) -> Message:
    """REFUSED message: the run could not be started."""
    return {"kind": REFUSED, "id": id, "error_type": error.error_type, "error": str(error)}

"""Child processes of one service: engines and front ends, and the state that the supervisor keeps of each."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ..observability.metrics import Snapshot, merge
from .control_channel import ControlChannel, Message

Kind = Literal["engine", "frontend"]


@dataclass(eq=False, slots=True)
class ChildProcess:
    """A running engine or front end.

    Attributes:
        index: of the device for an engine, a running number for a front end; a restarted process keeps it.
        assigned: numbers of the models that the engine is to have, loaded or still loading.
        models: number -> the engine's `model_loaded` message of each model that it has loaded.
        running: it has sent a message, so its event loop runs.
        started: an engine has loaded all models that it was started with.
        ready: a front end serves requests.
        last_message: monotonic time in seconds of the latest message.
        busy_seconds: how long the current model call has been running; 0 when idle.
        metrics: the latest snapshot.
    """

    kind: Kind
    index: int
    process: asyncio.subprocess.Process
    channel: ControlChannel
    assigned: set[int] = field(default_factory=set)
    models: dict[int, Message] = field(default_factory=dict)
    running: bool = False
    started: bool = False
    ready: bool = False
    last_message: float = field(default_factory=time.monotonic)
    busy_seconds: float = 0.0
    metrics: Snapshot = field(default_factory=lambda: merge([]))

    def __str__(self) -> str:
        return f"{self.kind} {self.index} (pid {self.process.pid})"

    @property
    def loading(self) -> bool:
        """True while the engine loads a model, or the front end waits for its models."""
        return not self.ready if self.kind == "frontend" else not (self.started and self.assigned <= self.models.keys())


class ChildProcesses(set[ChildProcess]):
    """All running child processes."""

    @property
    def engines(self) -> list[ChildProcess]:
        return list(self._of_kind("engine"))

    @property
    def started_engines(self) -> list[ChildProcess]:
        return [engine for engine in self._of_kind("engine") if engine.started]

    @property
    def front_ends(self) -> list[ChildProcess]:
        return list(self._of_kind("frontend"))

    def _of_kind(self, kind: Kind) -> Iterator[ChildProcess]:
        return (child for child in self if child.kind == kind)

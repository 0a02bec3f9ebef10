"""The processes of one service, as the supervisor sees them."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ..observability.metrics import Snapshot, merge
from .control_channel import Channel, Document


@dataclass(eq=False, slots=True)
class Member:
    """A process of the service.

    `ordered`: numbers of the models that an engine was told to load. `models`: what it has announced, by number.
    """

    kind: Literal["engine", "frontend"]
    index: int
    process: asyncio.subprocess.Process
    channel: Channel
    ordered: set[int] = field(default_factory=set)
    models: dict[int, Document] = field(default_factory=dict)
    loaded: bool = False
    """All that it started with."""
    ready: bool = False
    heard_at: float = field(default_factory=time.monotonic)
    busy_seconds: float = 0.0
    metrics: Snapshot = field(default_factory=lambda: merge([]))

    def __str__(self) -> str:
        return f"{self.kind} {self.index} (process {self.process.pid})"

    @property
    def settled(self) -> bool:
        """Whether it loads nothing at the moment; of a front end, whether its models are there."""
        return self.ready if self.kind == "frontend" else self.loaded and self.ordered <= self.models.keys()


class Members(set[Member]):
    """Those that live."""

    @property
    def engines(self) -> list[Member]:
        return list(self._of("engine"))

    @property
    def loaded_engines(self) -> list[Member]:
        return [engine for engine in self._of("engine") if engine.loaded]

    @property
    def front_ends(self) -> list[Member]:
        return list(self._of("frontend"))

    def _of(self, kind: str) -> Iterator[Member]:
        return (member for member in self if member.kind == kind)

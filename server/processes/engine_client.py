"""A front end's view of models that run in engine processes: ports whose other end is behind a socket."""

import asyncio
import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from ...models.preprocessing.images import Frame
from ..engine.runner import RunnerInfo
from ..engine.tasks import Shape, Task
from ..engine.worker import Inference
from ..errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded, ServiceError
from ..shared_memory import Ring, SlotPool
from .wire import Kind, Reply, Request, Status


@dataclass(slots=True)
class _Pending:
    slot: int
    shape: Shape
    future: "Future[Inference]" = field(default_factory=Future)


class EngineConnection(asyncio.Protocol):
    """The front end's end of a connection with one engine. Used from the event loop only.

    A slot is taken with the request and given back with the engine's reply, not earlier: the engine may read it.

    Args:
        restart_seconds: what the engine will need to be back, should it die.
    """

    def __init__(self, ring: Ring, restart_seconds: float = 0.0) -> None:
        self.available = True
        self.restart_seconds = restart_seconds
        self._ring = ring
        self._slots = SlotPool(ring.slots)
        self._pending: dict[int, _Pending] = {}
        self._ids = itertools.count()
        self._retiring = False
        self._received = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    def retire(self) -> None:
        """Ends once everything is answered: another connection has taken its place."""
        self._retiring = True
        self._end_if_done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The engine has gone: whoever waits is told so."""
        self.available = False
        pending, self._pending = self._pending, {}
        for request in pending.values():
            died = NotReady("the engine that had this image has died; send it again", self.restart_seconds)
            _resolve(request.future, died)

    def submit(
        self, model: int, frame: Frame, shape: Shape, *, priority: int, task: Task, deadline: float | None
    ) -> "Future[Inference]":
        """Puts the frame into a slot and tells the engine. `shape`: of the result.

        Raises:
            NotReady: the engine has gone.
            Overloaded: no slot is free.
            ValueError: the frame is larger than a slot.
        """
        if self._transport is None:
            raise NotReady("the engine is being restarted", self.restart_seconds)
        slot = self._slots.take()
        if slot is None:
            raise Overloaded(f"all {self._ring.slots} slots for images are in use")
        height, width, _ = frame.pixels.shape
        try:
            self._ring.pixels(slot, height, width)[...] = frame.pixels
        except ValueError:
            self._slots.give_back(slot)
            raise
        number = next(self._ids)
        request = self._pending[number] = _Pending(slot, shape)
        message = Request(number, slot, model, height, width, frame.ready, Kind.RUN, priority, task, deadline or 0.0)
        self._transport.write(message.pack())
        request.future.add_done_callback(lambda future: self._cancel(number) if future.cancelled() else None)
        return request.future

    def data_received(self, data: bytes) -> None:
        self._received += data
        for reply in Reply.unpack_all(self._received):
            request = self._pending.pop(reply.id)
            content = self._ring.read(request.slot, reply.size)
            self._slots.give_back(request.slot)
            _resolve(request.future, _outcome(reply, content, request.shape))
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._retiring and not self._pending and self._transport is not None:
            self._transport.close()
            self._transport = None

    def _cancel(self, number: int) -> None:
        if self._transport is not None and number in self._pending:
            self._transport.write(Request(number, 0, 0, 0, 0, 0, Kind.CANCEL, 0, 0, 0.0).pack())


def _outcome(reply: Reply, content: bytes, shape: Shape) -> Inference | ServiceError:
    if reply.status == Status.EXPIRED:
        return DeadlineExceeded("its time was over before its turn came")
    if reply.status != Status.DONE:
        return InferenceFailed(content.decode(errors="replace") or "the engine dropped this image")
    values = np.frombuffer(content, np.float32).reshape(shape)
    return Inference(values, reply.batch_size, reply.queue_seconds, reply.inference_seconds)


def _resolve(future: "Future[Inference]", outcome: Inference | ServiceError) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, ServiceError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class RemoteModel:
    """One model on one or more engines: a ModelPort. Each image goes to the engine with the fewest in flight."""

    def __init__(self, name: str, info: RunnerInfo, max_batch_size: int) -> None:
        self.name = name
        self.info = info
        self.max_batch_size = max_batch_size
        self._replicas: dict[int, tuple[EngineConnection, int]] = {}

    def attach(self, engine: int, connection: EngineConnection, model: int) -> None:
        """`engine` serves this model as its model number `model`; replaces the connection it had."""
        self._replicas[engine] = connection, model

    @property
    def available(self) -> bool:
        return any(connection.available for connection, _ in self._replicas.values())

    @property
    def waiting(self) -> int:
        return sum(connection.in_flight for connection, _ in self._replicas.values())

    def submit(
        self, frame: Frame, *, priority: int = 0, task: Task = Task.LOGITS, deadline: float | None = None
    ) -> "Future[Inference]":
        """As ModelPort.

        Raises:
            NotReady: no engine has the model at the moment.
            Overloaded: no slot is free.
        """
        living = [replica for replica in self._replicas.values() if replica[0].available]
        if not living:
            soonest = min((connection.restart_seconds for connection, _ in self._replicas.values()), default=None)
            raise NotReady(f"the engine of model {self.name!r} is being restarted", soonest)
        connection, model = min(living, key=lambda replica: replica[0].in_flight)
        shape = self.info.results[task]
        return connection.submit(model, frame, shape, priority=priority, task=task, deadline=deadline)

    def close(self) -> None:
        """Nothing to end here: the engine ends when the supervisor says so."""

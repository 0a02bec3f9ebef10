"""Engine client of a front end: models that run in engine processes, reached over data connections."""

import asyncio
import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from ...models.preprocessing.images import InputImage
from ..engine.runner import RunnerInfo
from ..engine.tasks import Shape, Task
from ..engine.worker import Inference
from ..errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded, ServiceError
from ..shared_memory import SlotMemory, SlotPool
from .wire import Kind, Reply, Request, Status


@dataclass(slots=True)
class _PendingRequest:
    slot: int
    shape: Shape
    """Of the result."""
    future: "Future[Inference]" = field(default_factory=Future)


class EngineConnection(asyncio.Protocol):
    """Front-end side of a data connection with one engine. For use on the event loop only.

    A request holds its slot until the engine replies, even when cancelled: the engine may be reading it.

    Args:
        slots: shared with the engine, for this connection only.
        restart_seconds: estimated time for the engine to be back if it dies; sent to clients as Retry-After.
    """

    def __init__(self, slots: SlotMemory, restart_seconds: float = 0.0) -> None:
        self.available = True
        """False once the connection is lost."""
        self.restart_seconds = restart_seconds
        self._slots = slots
        self._free_slots = SlotPool(slots.slots)
        self._pending: dict[int, _PendingRequest] = {}
        self._ids = itertools.count()
        self._draining = False
        self._received = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    @property
    def in_flight(self) -> int:
        """Number of requests without a reply."""
        return len(self._pending)

    def drain(self) -> None:
        """Close the connection after in-flight requests finish."""
        self._draining = True
        self._close_if_drained()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail all in-flight requests with NotReady."""
        self.available = False
        pending, self._pending = self._pending, {}
        for request in pending.values():
            died = NotReady("the engine died while it had this image; send the image again", self.restart_seconds)
            _resolve(request.future, died)

    def submit(
        self, model: int, image: InputImage, shape: Shape, *, priority: int, task: Task, deadline: float | None
    ) -> "Future[Inference]":
        """Copy the image into a slot and send the request.

        Args:
            model: number of the model.
            shape: of the result.
            deadline: monotonic time in seconds.

        Raises:
            NotReady: the engine has died, or the connection is draining.
            Overloaded: no slot is free.
            ValueError: the image is larger than a slot.
        """
        if self._transport is None:
            raise NotReady("the engine is restarting", self.restart_seconds)
        slot = self._free_slots.acquire()
        if slot is None:
            raise Overloaded(f"all {self._slots.slots} image slots of the engine are in use")
        height, width, _ = image.pixels.shape
        try:
            self._slots.pixels(slot, height, width)[...] = image.pixels
        except ValueError:
            self._free_slots.release(slot)
            raise
        id = next(self._ids)
        pending = self._pending[id] = _PendingRequest(slot, shape)
        request = Request(id, slot, model, height, width, image.preprocessed, Kind.RUN, priority, task, deadline or 0.0)
        self._transport.write(request.pack())
        pending.future.add_done_callback(lambda future: self._cancel(id) if future.cancelled() else None)
        return pending.future

    def data_received(self, data: bytes) -> None:
        self._received += data
        for reply in Reply.unpack_all(self._received):
            request = self._pending.pop(reply.id)
            content = self._slots.read(request.slot, reply.size)
            self._free_slots.release(request.slot)
            _resolve(request.future, _result(reply, content, request.shape))
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._draining and not self._pending and self._transport is not None:
            self._transport.close()
            self._transport = None

    def _cancel(self, id: int) -> None:
        if self._transport is not None and id in self._pending:
            self._transport.write(Request(id, 0, 0, 0, 0, 0, Kind.CANCEL, 0, 0, 0.0).pack())


def _result(reply: Reply, content: bytes, shape: Shape) -> Inference | ServiceError:
    if reply.status == Status.EXPIRED:
        return DeadlineExceeded("the deadline passed in the queue")
    if reply.status != Status.DONE:
        return InferenceFailed(content.decode(errors="replace") or "the engine dropped the image")
    values = np.frombuffer(content, np.float32).reshape(shape)
    return Inference(values, reply.batch_size, reply.queue_seconds, reply.inference_seconds)


def _resolve(future: "Future[Inference]", result: Inference | ServiceError) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(result, ServiceError):
        future.set_exception(result)
    else:
        future.set_result(result)


class RemoteModel:
    """Client of one model on one or more engines: a ModelInstance. Images go to the engine with fewest in flight."""

    def __init__(self, name: str, info: RunnerInfo, max_batch_size: int) -> None:
        self.name = name
        self.info = info
        self.max_batch_size = max_batch_size
        self._replicas: dict[int, tuple[EngineConnection, int]] = {}

    def attach(self, engine: int, connection: EngineConnection, model: int) -> None:
        """Add a replica, or replace its connection.

        Args:
            engine: index of the engine.
            model: the model's number.
        """
        self._replicas[engine] = connection, model

    @property
    def available(self) -> bool:
        return any(connection.available for connection, _ in self._replicas.values())

    @property
    def waiting(self) -> int:
        """Number of images without a result."""
        return sum(connection.in_flight for connection, _ in self._replicas.values())

    def submit(
        self, image: InputImage, *, priority: int = 0, task: Task = Task.LOGITS, deadline: float | None = None
    ) -> "Future[Inference]":
        """Submission of images to the engine; see `ModelInstance.submit`.

        Raises:
            NotReady: no engine with the model is running.
            Overloaded: no slot is free.
        """
        available = [replica for replica in self._replicas.values() if replica[0].available]
        if not available:
            restart = min((connection.restart_seconds for connection, _ in self._replicas.values()), default=None)
            raise NotReady(f"the engine of model {self.name!r} is restarting", restart)
        connection, model = min(available, key=lambda replica: replica[0].in_flight)
        shape = self.info.results[task]
        return connection.submit(model, image, shape, priority=priority, task=task, deadline=deadline)

    def close(self) -> None:
        """Do nothing: the supervisor stops engines."""

"""The engine's end of a connection with one front end: requests in, exactly one reply each out."""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import cast

from ...models.preprocessing.images import Frame
from ..engine.tasks import Task
from ..engine.worker import Inference, Worker
from ..errors import DeadlineExceeded
from ..shared_memory import Ring
from .wire import Kind, Reply, Request, Status

_MOST_REASON_BYTES = 500


class EngineLink(asyncio.Protocol):
    """Hands slots of the front end's ring to the workers and tells the front end when they hold the result.

    Args:
        ring: the front end's; it lives and dies with this connection.
        workers: by the number that requests name; they come and go while the link lives.
    """

    def __init__(self, ring: Ring, workers: Mapping[int, Worker]) -> None:
        self._ring = ring
        self._workers = workers
        self._received = bytearray()
        self._running: dict[int, Future[Inference]] = {}
        self._outgoing = bytearray()
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The front end has gone: what waits is dropped before it costs a batch."""
        self._transport = None
        for future in list(self._running.values()):
            future.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        for request in Request.unpack_all(self._received):
            if request.kind == Kind.RUN:
                self._submit(request)
            elif future := self._running.get(request.id):
                future.cancel()

    def _submit(self, request: Request) -> None:
        worker = self._workers[request.model]
        frame = Frame(self._ring.pixels(request.slot, request.height, request.width), bool(request.ready))
        future = worker.submit(
            frame, priority=request.priority, task=Task(request.task), deadline=request.deadline or None
        )
        self._running[request.id] = future
        future.add_done_callback(partial(self._reply, request))

    def _reply(self, request: Request, future: "Future[Inference]") -> None:
        """Called by the worker's thread, or by this one for what was cancelled."""
        self._running.pop(request.id, None)
        if self._transport is None:
            return
        record = self._result(request, future).pack()
        with self._lock:
            first = not self._outgoing
            self._outgoing += record
        if first:  # the others of a batch follow before the loop gets to it: one write for all
            self._loop.call_soon_threadsafe(self._flush)

    def _result(self, request: Request, future: "Future[Inference]") -> Reply:
        if future.cancelled():
            return Reply(request.id, Status.CANCELLED, 0, 0, 0, 0)
        if isinstance(future.exception(), DeadlineExceeded):
            return Reply(request.id, Status.EXPIRED, 0, 0, 0, 0)
        if error := future.exception():
            size = self._ring.write(request.slot, str(error).encode()[:_MOST_REASON_BYTES])
            return Reply(request.id, Status.FAILED, 0, size, 0, 0)
        done = future.result()
        size = self._ring.write(request.slot, done.values.tobytes())
        return Reply(request.id, Status.DONE, done.batch_size, size, done.queue_seconds, done.inference_seconds)

    def _flush(self) -> None:
        with self._lock:
            records, self._outgoing = self._outgoing, bytearray()
        if self._transport is not None:
            self._transport.write(records)

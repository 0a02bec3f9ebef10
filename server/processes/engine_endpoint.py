"""Engine side of a data connection with one front end: requests in, exactly one reply each out."""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import cast

from ...models.preprocessing.images import InputImage
from ..engine.tasks import Task
from ..engine.worker import Inference, Worker
from ..errors import DeadlineExceeded
from ..shared_memory import SlotMemory
from .wire import Kind, Reply, Request, Status

_MAX_ERROR_BYTES = 500


class EngineEndpoint(asyncio.Protocol):
    """Submits the images of a front end's slots to workers, and replies when the slots hold the results.

    Args:
        slots: shared with the front end, for this connection only.
        workers: by model number, as requests name it; may change while the connection is open.
    """

    def __init__(self, slots: SlotMemory, workers: Mapping[int, Worker]) -> None:
        self._slots = slots
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
        """Cancel all waiting images, so that they are not put into a batch."""
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
        image = InputImage(self._slots.pixels(request.slot, request.height, request.width), bool(request.preprocessed))
        future = worker.submit(
            image, priority=request.priority, task=Task(request.task), deadline=request.deadline or None
        )
        self._running[request.id] = future
        future.add_done_callback(partial(self._reply, request))

    def _reply(self, request: Request, future: "Future[Inference]") -> None:
        """Queue the reply. Runs on the worker's thread, or on the event loop's after a cancellation."""
        self._running.pop(request.id, None)
        if self._transport is None:
            return
        record = self._write_result(request, future).pack()
        with self._lock:
            first = not self._outgoing
            self._outgoing += record
        if first:  # the batch's other replies are queued before the loop flushes: one write for all
            self._loop.call_soon_threadsafe(self._flush)

    def _write_result(self, request: Request, future: "Future[Inference]") -> Reply:
        """Reply record; the result or the error message is written to the request's slot."""
        if future.cancelled():
            return Reply(request.id, Status.CANCELLED, 0, 0, 0, 0)
        error = future.exception()
        if isinstance(error, DeadlineExceeded):
            return Reply(request.id, Status.EXPIRED, 0, 0, 0, 0)
        if error:
            size = self._slots.write(request.slot, str(error).encode()[:_MAX_ERROR_BYTES])
            return Reply(request.id, Status.FAILED, 0, size, 0, 0)
        result = future.result()
        size = self._slots.write(request.slot, result.values.tobytes())
        return Reply(request.id, Status.DONE, result.batch_size, size, result.queue_seconds, result.inference_seconds)

    def _flush(self) -> None:
        with self._lock:
            records, self._outgoing = self._outgoing, bytearray()
        if self._transport is not None:
            self._transport.write(records)

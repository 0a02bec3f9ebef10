"""Engine side of a data connection, with a fake transport and worker: exactly one reply for each request."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, cast

import numpy as np

from tessella.server.engine.worker import Inference, Worker
from tessella.server.errors import DeadlineExceeded
from tessella.server.processes.engine_endpoint import EngineEndpoint
from tessella.server.processes.wire import Kind, Reply, Request, Status
from tessella.server.shared_memory import SlotMemory, create_memory_file

SLOTS, SLOT_BYTES = 4, 1024
MODEL = 5


class Engine:
    """An endpoint around a worker whose futures the test resolves, and all replies that were written."""

    def __init__(self) -> None:
        self.futures: list[Future[Inference]] = []
        self.written = bytearray()
        self.slots = SlotMemory(create_memory_file(SLOTS * SLOT_BYTES), SLOTS, SLOT_BYTES)
        self.endpoint = EngineEndpoint(self.slots, {MODEL: cast(Worker, self)})
        self.endpoint.connection_made(cast(asyncio.BaseTransport, self))

    def submit(self, *_: Any, **__: Any) -> "Future[Inference]":
        self.futures.append(Future())
        return self.futures[-1]

    def write(self, data: bytes) -> None:
        self.written += data

    def receive(self, id: int, kind: Kind = Kind.RUN) -> None:
        self.endpoint.data_received(Request(id, id % SLOTS, MODEL, 2, 2, 1, kind, 0, 1, 0.0).pack())

    async def replies(self) -> list[Reply]:
        await asyncio.sleep(0)
        return [*Reply.unpack_all(self.written)]


def with_engine(scenario: Callable[[Engine], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Engine())

    asyncio.run(main())


def test_result_is_in_the_slot_when_the_reply_is_sent() -> None:
    async def scenario(engine: Engine) -> None:
        engine.receive(1)
        values = np.arange(10, dtype=np.float32)
        engine.futures[0].set_result(Inference(values, 3, 0.5, 0.25))
        (reply,) = await engine.replies()
        assert reply == Reply(1, Status.DONE, 3, values.nbytes, 0.5, 0.25)
        assert engine.slots.read(1, reply.size) == values.tobytes()

    with_engine(scenario)


def test_error_message_is_cut_to_500_bytes() -> None:
    async def scenario(engine: Engine) -> None:
        engine.receive(2)
        engine.futures[0].set_exception(RuntimeError("out of memory " * 100))
        (reply,) = await engine.replies()
        assert (reply.id, reply.status, reply.size) == (2, Status.FAILED, 500)
        assert engine.slots.read(2, reply.size).startswith(b"out of memory")

    with_engine(scenario)


def test_expired_and_cancelled_requests_get_a_reply_too() -> None:
    async def scenario(engine: Engine) -> None:
        engine.receive(1)
        engine.receive(2)
        engine.receive(2, Kind.CANCEL)
        engine.receive(9, Kind.CANCEL)  # never submitted, or already replied to
        engine.futures[0].set_exception(DeadlineExceeded("late"))
        assert {(reply.id, reply.status) for reply in await engine.replies()} == {
            (1, Status.EXPIRED),
            (2, Status.CANCELLED),
        }

    with_engine(scenario)


def test_lost_connection_cancels_waiting_requests() -> None:
    async def scenario(engine: Engine) -> None:
        engine.receive(1)
        engine.endpoint.connection_lost(None)
        assert engine.futures[0].cancelled()
        assert await engine.replies() == []

    with_engine(scenario)

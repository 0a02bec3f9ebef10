"""Engine client over a real socket: deadlines are sent, and a replaced connection drains."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
import pytest

from tessella.models.preprocessing.images import InputImage
from tessella.server.errors import DeadlineExceeded, NotReady
from tessella.server.processes.engine_client import EngineConnection, RemoteModel
from tessella.server.processes.engine_endpoint import EngineEndpoint
from tessella.server.shared_memory import SlotMemory, create_memory_file

from ...support.gated_runner import SIDE, GatedRunner

SLOTS, SLOT_BYTES = 4, 4096
NUMBER = 70_000
IMAGE = np.full((SIDE, SIDE, 3), 7, np.uint8)

Connect = Callable[[], Awaitable[EngineConnection]]
Scenario = Callable[[GatedRunner, RemoteModel, Connect], Awaitable[None]]


def play(scenario: Scenario) -> list[int]:
    """Run a scenario with a model on one engine; returns the sizes of the batches that were run."""
    runner = GatedRunner()
    worker = runner.worker(4)
    connections: list[EngineConnection] = []
    endpoints: list[asyncio.BaseTransport] = []

    async def connect() -> EngineConnection:
        memory = create_memory_file(SLOTS * SLOT_BYTES)
        memories = [SlotMemory(descriptor, SLOTS, SLOT_BYTES) for descriptor in (os.dup(memory), memory)]
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        endpoint, _ = await loop.connect_accepted_socket(partial(EngineEndpoint, memories[0], {NUMBER: worker}), far)
        endpoints.append(endpoint)
        _, connection = await loop.connect_accepted_socket(partial(EngineConnection, memories[1]), near)
        connections.append(connection)
        return connection

    async def main() -> None:
        model = RemoteModel("gated", runner.info, 4)
        async with asyncio.timeout(60):
            await scenario(runner, model, connect)
            for connection in connections:
                connection.drain()
            while not all(endpoint.is_closing() for endpoint in endpoints):  # the other ends close as well
                await asyncio.sleep(0.001)

    asyncio.run(main())
    runner.gate.set()
    worker.close()
    return runner.batches


def test_an_expired_image_is_not_put_into_a_batch() -> None:
    async def scenario(runner: GatedRunner, model: RemoteModel, connect: Connect) -> None:
        model.attach(0, await connect(), NUMBER)
        late = model.submit(InputImage(IMAGE), deadline=time.monotonic() - 1)
        with pytest.raises(DeadlineExceeded, match="in the queue"):
            await asyncio.wrap_future(late)
        for deadline in (None, time.monotonic() + 60):
            answer = await asyncio.wrap_future(model.submit(InputImage(IMAGE), deadline=deadline))
            assert answer.values.argmax() == 7

    assert play(scenario) == [1, 1]


def test_a_replaced_connection_finishes_its_requests_and_closes() -> None:
    async def scenario(runner: GatedRunner, model: RemoteModel, connect: Connect) -> None:
        old, new = await connect(), await connect()
        model.attach(0, old, NUMBER)
        runner.gate.clear()
        first = asyncio.wrap_future(model.submit(InputImage(IMAGE)))
        model.attach(0, new, NUMBER)
        old.drain()
        second = asyncio.wrap_future(model.submit(InputImage(IMAGE)))
        assert (old.in_flight, new.in_flight) == (1, 1)
        runner.gate.set()
        assert [answer.values.argmax() for answer in await asyncio.gather(first, second)] == [7, 7]
        while old.available:
            await asyncio.sleep(0.001)
        with pytest.raises(NotReady):
            old.submit(
                NUMBER, InputImage(IMAGE), (256,), priority=0, task=next(iter(model.info.results)), deadline=None
            )
        assert (await asyncio.wrap_future(model.submit(InputImage(IMAGE)))).values.argmax() == 7

    assert sum(play(scenario)) == 3

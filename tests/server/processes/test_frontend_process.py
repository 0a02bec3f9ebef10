"""Front-end process inside the test's process, without serving: what the supervisor's messages do."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tessella.server.model_names import NumberedSpec
from tessella.server.observability.metrics import Snapshot
from tessella.server.processes.control_channel import ControlChannel, Message, channel_pair
from tessella.server.processes.frontend_process import FrontEndProcess
from tessella.server.settings import Settings

CATS = NumberedSpec(0, "cats", 1, "cats.onnx")


@dataclass
class Supervised:
    front_end: FrontEndProcess
    supervisor: ControlChannel
    received: "asyncio.Queue[Message]"


def supervised(scenario: Callable[[Supervised], Awaitable[None]]) -> None:
    """Runs a scenario with a front end whose supervisor is the test."""

    async def main() -> None:
        ours, theirs = channel_pair()
        received = asyncio.Queue[Message]()
        supervisor = ControlChannel(ours, lambda message, _: received.put_nowait(message), lambda: None)
        with socket.socket() as listener:
            settings = Settings(model=("cats=cats.onnx",))
            front_end = FrontEndProcess(theirs, listener, settings, [CATS], {})
            async with asyncio.timeout(30):
                await scenario(Supervised(front_end, supervisor, received))
        supervisor.close()
        front_end._channel.close()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_drain_makes_it_not_ready_and_stop_ends_the_server() -> None:
    async def scenario(process: Supervised) -> None:
        process.supervisor.send({"kind": "drain"})
        await until(lambda: process.front_end._service.draining)
        assert not process.front_end._server.should_exit
        process.supervisor.send({"kind": "stop"})
        await until(lambda: process.front_end._server.should_exit)

    supervised(scenario)


def test_it_ends_when_the_supervisor_has_exited() -> None:
    async def scenario(process: Supervised) -> None:
        process.supervisor.close()
        await until(lambda: process.front_end._server.should_exit)

    supervised(scenario)


def test_metrics_are_collected_through_the_supervisor() -> None:
    async def scenario(process: Supervised) -> None:
        own: Snapshot = {"values": [["nv_inference_count", [], 1]], "buckets": []}
        others: list[Snapshot] = [{"values": [["nv_inference_count", [], number]], "buckets": []} for number in (2, 3)]
        abandoned = asyncio.create_task(process.front_end._collect_metrics(own))
        assert await process.received.get() == {"kind": "collect_metrics", "metrics": own}
        abandoned.cancel()  # its client has disconnected
        request = asyncio.create_task(process.front_end._collect_metrics(own))
        await process.received.get()
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        for snapshots in (others[:1], others):
            process.supervisor.send({"kind": "metrics", "snapshots": snapshots})
        assert await request == others
        assert not failures

    supervised(scenario)


def test_models_are_set_after_the_connections_received_before() -> None:
    async def scenario(process: Supervised) -> None:
        applying = asyncio.create_task(process.front_end._apply_updates())
        process.supervisor.send(
            {"kind": "set_models", "revision": 4, "models": [list(CATS)], "aliases": {"pet": "cats"}}
        )
        assert await process.received.get() == {"kind": "switched", "revision": 4}
        assert process.front_end._models.repository.aliases == {"pet": "cats"}
        applying.cancel()

    supervised(scenario)

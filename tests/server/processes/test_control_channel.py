"""Control channel on a real socket pair: messages of any size, descriptors, end of the peer, heartbeats."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import pytest

from tessella.server.observability.metrics import Metrics
from tessella.server.processes import control_channel
from tessella.server.processes.control_channel import (
    ControlChannel,
    Message,
    channel_pair,
    receive_first,
    send_heartbeats,
)

LABELS = [f"label {index}" for index in range(21_000)]


class Peer:
    """One end of a channel, with all that it has received."""

    def __init__(self, end: socket.socket) -> None:
        self.received = asyncio.Queue[tuple[Message, list[int]]]()
        self.closed = asyncio.Event()
        self.channel = ControlChannel(end, lambda *message: self.received.put_nowait(message), self.closed.set)


def with_peers(scenario: Callable[[Peer, Peer], Awaitable[None]]) -> None:
    async def main() -> None:
        one, other = map(Peer, channel_pair())
        async with asyncio.timeout(30):
            await scenario(one, other)
        one.channel.close()
        other.channel.close()

    asyncio.run(main())


@pytest.mark.parametrize("content", ["short", LABELS])
def test_messages_arrive_with_their_descriptors(content: object) -> None:
    async def scenario(one: Peer, other: Peer) -> None:
        readable, writable = os.pipe()
        one.channel.send({"kind": "labels", "content": content}, [writable])
        os.close(writable)
        message, (received,) = await other.received.get()
        assert message == {"kind": "labels", "content": content}
        os.write(received, b"through")
        assert os.read(readable, 100) == b"through"
        os.close(received)
        os.close(readable)

    with_peers(scenario)


def test_large_messages_leave_no_descriptor_open() -> None:
    async def scenario(one: Peer, other: Peer) -> None:
        before = os.listdir("/proc/self/fd")
        one.channel.send({"kind": "labels", "content": LABELS})
        _, descriptors = await other.received.get()
        assert descriptors == []
        assert len(os.listdir("/proc/self/fd")) == len(before)

    with_peers(scenario)


def test_closing_one_end_closes_the_other() -> None:
    async def scenario(one: Peer, other: Peer) -> None:
        one.channel.close()
        await other.closed.wait()
        assert one.closed.is_set()
        other.channel.send({"kind": "ignored"})

    with_peers(scenario)


def test_peer_that_does_not_read_is_closed_instead_of_waited_for() -> None:
    async def scenario(one: Peer, other: Peer) -> None:
        for _ in range(100_000):
            one.channel.send({"kind": "flood", "content": "x" * 30_000})
            if one.closed.is_set():
                return
        raise AssertionError("the buffer never filled")

    with_peers(scenario)


@pytest.mark.parametrize("content", ["short", LABELS])
def test_first_message_is_read_before_the_event_loop_runs(content: object) -> None:
    ours, theirs = channel_pair()

    async def send() -> None:
        channel = Peer(ours).channel
        channel.send({"kind": "start", "content": content})
        channel.close()

    asyncio.run(send())
    with theirs:
        assert receive_first(theirs) == {"kind": "start", "content": content}


def test_heartbeats_carry_metrics_until_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_channel, "HEARTBEAT_SECONDS", 0.001)
    metrics = Metrics()
    metrics.count("nv_inference_count", 3, model="digits-vit")

    async def scenario(one: Peer, other: Peer) -> None:
        task = asyncio.create_task(send_heartbeats(one.channel, metrics, lambda: {"busy_seconds": 0.5}))
        for _ in range(2):
            message, _ = await other.received.get()
            assert message["kind"] == "heartbeat"
            assert message["busy_seconds"] == 0.5
            assert ["nv_inference_count", [["model", "digits-vit"]], 3] in message["metrics"]["values"]
        task.cancel()

    with_peers(scenario)

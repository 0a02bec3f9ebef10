"""Control channel between the supervisor and a child process: JSON messages, file descriptors, end of the peer."""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..observability.gauges import update_gauges
from ..observability.metrics import Metrics
from ..shared_memory import create_memory_file

Message = dict[str, Any]
MessageHandler = Callable[[Message, list[int]], None]

HEARTBEAT_SECONDS = 0.5
"""Interval between two heartbeats."""
_MAX_INLINE_BYTES = 32_768
_MAX_DESCRIPTORS = 8
_SEND_BUFFER_BYTES = 1 << 20
_IN_MEMORY_FILE = b"."
"""Packet that stands for a message in the memory file sent with it, the last of the descriptors."""


class ControlChannel:
    """One end of a socket pair. Messages above 32 KiB (21,000 labels) are sent in a memory file.

    Args:
        end: of a SOCK_SEQPACKET pair: one packet per message.
        on_message: called in the event loop with each message and its file descriptors, which the callee must close.
        on_close: called once, when the channel is closed by either side.
    """

    def __init__(self, end: socket.socket, on_message: MessageHandler, on_close: Callable[[], None]) -> None:
        end.setblocking(False)
        self._socket = end
        self._on_message = on_message
        self._on_close = on_close
        asyncio.get_running_loop().add_reader(end, self._read)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send without waiting. If the peer has exited or its buffer is full, the channel is closed instead."""
        content = json.dumps(message).encode()
        file = _write_memory_file(content) if len(content) > _MAX_INLINE_BYTES else None
        packet, attached = (content, list(descriptors)) if file is None else (_IN_MEMORY_FILE, [*descriptors, file])
        try:
            socket.send_fds(self._socket, [packet], attached)
        except OSError:
            self.close()
        finally:
            if file is not None:
                os.close(file)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._on_close()

    def _read(self) -> None:
        try:
            packet, descriptors = _receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self.close()
            return
        self._on_message(_decode(packet, descriptors), descriptors)


def receive_first(end: socket.socket) -> Message:
    """The first message of a channel; blocks, for use before the event loop runs. It carries no descriptors."""
    return _decode(*_receive(end))


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, with room for many messages in flight."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    return ends


async def send_heartbeats(
    channel: ControlChannel,
    metrics: Metrics,
    extra: Callable[[], Message],
    devices: Callable[[], Iterable[str]] = tuple,
) -> None:
    """Heartbeat: liveness and a metrics snapshot, every `HEARTBEAT_SECONDS` until cancelled.

    Args:
        extra: returns further keys of the message.
        devices: returns the devices that this process computes on, for their gauges.
    """
    while True:
        update_gauges(metrics, devices())
        channel.send({"kind": "heartbeat", "metrics": metrics.snapshot(), **extra()})
        await asyncio.sleep(HEARTBEAT_SECONDS)


def _receive(end: socket.socket) -> tuple[bytes, list[int]]:
    packet, descriptors, _, _ = socket.recv_fds(end, 2 * _MAX_INLINE_BYTES, _MAX_DESCRIPTORS)
    return packet, descriptors


def _decode(packet: bytes, descriptors: list[int]) -> Message:
    """The message; takes its memory file, if there is one, off the descriptors."""
    message: Message = json.loads(_read_memory_file(descriptors.pop()) if packet == _IN_MEMORY_FILE else packet)
    return message


def _write_memory_file(content: bytes) -> int:
    descriptor = create_memory_file(len(content))
    os.pwrite(descriptor, content, 0)
    return descriptor


def _read_memory_file(descriptor: int) -> bytes:
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)

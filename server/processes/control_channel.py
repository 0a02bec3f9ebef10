"""The control line between the supervisor and a process it started: JSON documents, descriptors, news of its end."""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..observability.gauges import measure
from ..observability.metrics import Metrics
from ..shared_memory import memory_file

Document = dict[str, Any]
Receiver = Callable[[Document, list[int]], None]

_INLINE_BYTES = 32_768
_MOST_DESCRIPTORS = 8


class Channel:
    """One end of a socket pair. Documents that are large (21,000 labels) travel as a memory file.

    Args:
        end: of a SOCK_SEQPACKET pair: one packet, one document.
        on_document: called in the event loop with each document and the descriptors sent with it, now the callee's.
        on_end: called once, when the other process has gone.
    """

    def __init__(self, end: socket.socket, on_document: Receiver, on_end: Callable[[], None]) -> None:
        end.setblocking(False)
        self._socket = end
        self._on_document = on_document
        self._on_end = on_end
        asyncio.get_running_loop().add_reader(end, self._read)

    def send(self, document: Document, descriptors: Sequence[int] = ()) -> None:
        """Sends at once. A process that has gone, or has not read for long, does not get it: `on_end` follows."""
        content = json.dumps(document).encode()
        spill = _write_memory_file(content) if len(content) > _INLINE_BYTES else None
        packet, attached = (b"", [*descriptors, spill]) if spill is not None else (content, list(descriptors))
        try:
            socket.send_fds(self._socket, [packet or b"."], attached)
        except OSError:
            self.close()
        finally:
            if spill is not None:
                os.close(spill)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._on_end()

    def _read(self) -> None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._socket, 2 * _INLINE_BYTES, _MOST_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self.close()
            return
        content = _read_memory_file(descriptors.pop()) if packet == b"." else packet
        self._on_document(json.loads(content), descriptors)


def receive_first(end: socket.socket) -> Document:
    """The first document, before there is an event loop. Blocks; it comes with no descriptors."""
    packet, descriptors, _, _ = socket.recv_fds(end, 2 * _INLINE_BYTES, _MOST_DESCRIPTORS)
    document: Document = json.loads(_read_memory_file(descriptors.pop()) if packet == b"." else packet)
    return document


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, with room for many documents in flight."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return ends


def _write_memory_file(content: bytes) -> int:
    descriptor = memory_file(len(content))
    os.pwrite(descriptor, content, 0)
    return descriptor


def _read_memory_file(descriptor: int) -> bytes:
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


BEAT_SECONDS = 0.5


async def beat(
    channel: Channel,
    metrics: Metrics,
    more: Callable[[], Document],
    devices: Callable[[], Iterable[str]] = tuple,
) -> None:
    """Sends one document every `BEAT_SECONDS`, with the keys that `more` gives, until cancelled.

    Args:
        devices: those that this process computes on.
    """
    while True:
        measure(metrics, devices())
        channel.send({"kind": "beat", "metrics": metrics.snapshot(), **more()})
        await asyncio.sleep(BEAT_SECONDS)

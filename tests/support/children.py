"""Child processes without a process: their channel records the messages sent to them."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from tessella.server.processes.children import ChildProcess, Kind
from tessella.server.processes.control_channel import ControlChannel, Message


class RecordingChannel:
    """Stand-in for a ControlChannel."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        self.sent.append(message)


def child(kind: Kind, index: int = 0) -> ChildProcess:
    process = cast(asyncio.subprocess.Process, SimpleNamespace(pid=4711))
    return ChildProcess(kind, index, process, cast(ControlChannel, RecordingChannel()))


def sent_to(child: ChildProcess, kind: str | None = None) -> list[Message]:
    """Messages sent to a child so far, of one kind or of all."""
    channel = cast(RecordingChannel, child.channel)
    return [message for message in channel.sent if kind in (None, message["kind"])]

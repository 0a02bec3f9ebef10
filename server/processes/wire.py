"""What crosses the socket between a front end and an engine: records of fixed size. Pixels and results do not."""

import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import ClassVar, Self


class Kind(IntEnum):
    RUN = 0
    CANCEL = 1


class Status(IntEnum):
    DONE = 0
    """The slot holds the result: float32, of the shape that the model announced for the task."""
    FAILED = 1
    """The slot holds the reason as UTF-8."""
    CANCELLED = 2
    EXPIRED = 3
    """Its time was over before it cost a batch."""


class Record:
    """A dataclass whose fields, in their order, are the values of `LAYOUT`."""

    LAYOUT: ClassVar[struct.Struct]

    def pack(self) -> bytes:
        return self.LAYOUT.pack(*astuple(self))  # type: ignore[call-overload]

    @classmethod
    def unpack_all(cls, buffer: bytearray) -> Iterator[Self]:
        """The whole records at the buffer's beginning, which are removed from it."""
        size = cls.LAYOUT.size
        whole = len(buffer) // size * size
        received = bytes(buffer[:whole])
        del buffer[:whole]
        for values in cls.LAYOUT.iter_unpack(received):
            yield cls(*values)


@dataclass(frozen=True, slots=True)
class Request(Record):
    """Front end to engine. Every RUN gets exactly one Reply, also when cancelled; only then is its slot free."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QIIIIBBBBd")
    id: int
    slot: int
    model: int
    height: int
    width: int
    """Of the pixels in the slot."""
    ready: int
    """1: they are what the network sees; 0: they are still to be resized and cropped."""
    kind: int
    priority: int
    task: int
    deadline: float
    """Of the system's monotonic clock; 0: none."""


@dataclass(frozen=True, slots=True)
class Reply(Record):
    """Engine to front end. Times in seconds; `size` bytes of the request's slot are the result."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QBxHIff")
    id: int
    status: int
    batch_size: int
    size: int
    queue_seconds: float
    inference_seconds: float

"""Wire format of a data connection between a front end and an engine: fixed-size records.

Pixels and results are not part of it: they are in shared memory, in the slot that a record names.
"""

import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import ClassVar, Self


class Kind(IntEnum):
    """Request kinds."""

    RUN = 0
    CANCEL = 1


class Status(IntEnum):
    """Reply statuses."""

    DONE = 0
    """The slot holds the result: float32, in the shape that the model announced for the task."""
    FAILED = 1
    """The slot holds the error message as UTF-8."""
    CANCELLED = 2
    EXPIRED = 3
    """The deadline passed before the image was put into a batch."""


class Record:
    """Base of records: dataclasses whose fields, in order, are the values of `LAYOUT`."""

    LAYOUT: ClassVar[struct.Struct]

    def pack(self) -> bytes:
        return self.LAYOUT.pack(*astuple(self))  # type: ignore[call-overload]

    @classmethod
    def unpack_all(cls, buffer: bytearray) -> Iterator[Self]:
        """Remove all complete records from the start of the buffer and yield them."""
        size = cls.LAYOUT.size
        complete = len(buffer) // size * size
        received = bytes(buffer[:complete])
        del buffer[:complete]
        for values in cls.LAYOUT.iter_unpack(received):
            yield cls(*values)


@dataclass(frozen=True, slots=True)
class Request(Record):
    """Front end to engine. Every RUN gets exactly one Reply, also when cancelled; the slot is free only then.

    Attributes:
        model: number of the model.
        height, width: of the image in the slot, in pixels.
        preprocessed: 1: the image is the network's input; 0: it has yet to be resized and cropped.
        deadline: monotonic time in seconds; 0: none.
    """

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QIIIIBBBBd")
    id: int
    slot: int
    model: int
    height: int
    width: int
    preprocessed: int
    kind: int
    priority: int
    task: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Reply(Record):
    """Engine to front end.

    Attributes:
        id: of the request.
        size: bytes of the request's slot that hold the result or the error message.
        queue_seconds, inference_seconds: time waiting for the model and time in the model call.
    """

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QBxHIff")
    id: int
    status: int
    batch_size: int
    size: int
    queue_seconds: float
    inference_seconds: float

"""Shared memory for pixels and logits: slots of one size in a memory file that is inherited, never named."""

import mmap
import os

import numpy as np
from numpy.typing import NDArray


def create_memory_file(size: int) -> int:
    """The descriptor of `size` zero bytes in memory. Pages cost nothing until they are written.

    A memory file has no name to leak, no size limit of a container's /dev/shm, and is gone with the last process.
    """
    descriptor = os.memfd_create("tessella")
    os.ftruncate(descriptor, size)
    return descriptor


class SlotMemory:
    """`slots` pieces of `slot_bytes` bytes each, in a memory file that several processes map.

    Args:
        descriptor: of the memory file; mapped and closed.
    """

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._memory = mmap.mmap(descriptor, slots * slot_bytes)
        os.close(descriptor)

    def pixels(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        """The slot as (height, width, 3) pixels; what is written there, other processes see.

        Raises:
            ValueError: they do not fit.
        """
        size = height * width * 3
        if size > self.slot_bytes:
            raise ValueError(f"{width}×{height} pixels need {size} bytes, a slot has {self.slot_bytes}")
        return np.frombuffer(self._memory, np.uint8, size, slot * self.slot_bytes).reshape(height, width, 3)

    def write(self, slot: int, content: bytes) -> int:
        """Puts `content`, cut to the slot's size, at its beginning; returns how many bytes that were."""
        start, size = slot * self.slot_bytes, min(len(content), self.slot_bytes)
        self._memory[start : start + size] = content[:size]
        return size

    def read(self, slot: int, size: int) -> bytes:
        start = slot * self.slot_bytes
        return self._memory[start : start + size]


class SlotPool:
    """Which slots of a ring are free. Belongs to one thread."""

    def __init__(self, slots: int) -> None:
        self._free = list(reversed(range(slots)))

    def __len__(self) -> int:
        return len(self._free)

    def take(self) -> int | None:
        """A free slot, the one used last, so that memory is touched only as load needs it; None where there is none."""
        return self._free.pop() if self._free else None

    def give_back(self, slot: int) -> None:
        self._free.append(slot)

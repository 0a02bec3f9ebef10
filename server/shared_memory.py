"""Shared memory for pixels and results: slots of one size in an anonymous, inherited memory file."""

import mmap
import os

import numpy as np
from numpy.typing import NDArray


def create_memory_file(size: int) -> int:
    """Descriptor of a new memory file (memfd) of `size` zero bytes; its pages take memory once they are written.

    Unlike a file in /dev/shm it has no name to leak and no size limit in a container, and ends with the last process.
    """
    descriptor = os.memfd_create("tessella")
    os.ftruncate(descriptor, size)
    return descriptor


class SlotMemory:
    """Slots of `slot_bytes` bytes each in a memory file that several processes map.

    Args:
        descriptor: of the memory file; mapped, then closed.
        slots: number of slots.
    """

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._memory = mmap.mmap(descriptor, slots * slot_bytes)
        os.close(descriptor)

    def pixels(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        """View of a slot as pixels, uint8 (height, width, 3); other processes see what is written to it.

        Raises:
            ValueError: the pixels do not fit into a slot.
        """
        size = height * width * 3
        if size > self.slot_bytes:
            raise ValueError(f"{width}×{height} pixels need {size} bytes, a slot has {self.slot_bytes}")
        return np.frombuffer(self._memory, np.uint8, size, slot * self.slot_bytes).reshape(height, width, 3)

    def write(self, slot: int, content: bytes) -> int:
        """Write `content`, truncated to the slot's size, to a slot; returns the number of bytes written."""
        start, size = slot * self.slot_bytes, min(len(content), self.slot_bytes)
        self._memory[start : start + size] = content[:size]
        return size

    def read(self, slot: int, size: int) -> bytes:
        start = slot * self.slot_bytes
        return self._memory[start : start + size]


class SlotPool:
    """Free slots of a slot memory. Not thread-safe."""

    def __init__(self, slots: int) -> None:
        self._free = list(reversed(range(slots)))

    def __len__(self) -> int:
        return len(self._free)

    def acquire(self) -> int | None:
        """Acquire a free slot, the most recently used one, so that few pages are touched; None if none is free."""
        return self._free.pop() if self._free else None

    def release(self, slot: int) -> None:
        """Return a slot to the pool."""
        self._free.append(slot)

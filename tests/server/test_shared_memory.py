"""Slot memory shared by two mappings, and the pool of free slots."""

import os

import numpy as np
import pytest

from tessella.server.shared_memory import SlotMemory, SlotPool, create_memory_file

SLOTS, SLOT_BYTES = 3, 60


@pytest.fixture
def memories() -> tuple[SlotMemory, SlotMemory]:
    descriptor = create_memory_file(SLOTS * SLOT_BYTES)
    return SlotMemory(os.dup(descriptor), SLOTS, SLOT_BYTES), SlotMemory(descriptor, SLOTS, SLOT_BYTES)


def test_pixels_written_in_one_mapping_are_read_in_the_other(memories: tuple[SlotMemory, SlotMemory]) -> None:
    writer, reader = memories
    pixels = np.arange(48, dtype=np.uint8).reshape(2, 8, 3)
    writer.pixels(1, 2, 8)[:] = pixels
    assert np.array_equal(reader.pixels(1, 2, 8), pixels)
    assert not reader.pixels(0, 2, 8).any()
    assert not reader.pixels(2, 2, 8).any()


def test_pixels_larger_than_a_slot_are_rejected(memories: tuple[SlotMemory, SlotMemory]) -> None:
    assert memories[0].pixels(2, 4, 5).nbytes == SLOT_BYTES
    with pytest.raises(ValueError, match=r"7×3 pixels need 63 bytes, a slot has 60"):
        memories[0].pixels(0, 3, 7)


def test_content_is_truncated_to_the_slot(memories: tuple[SlotMemory, SlotMemory]) -> None:
    writer, reader = memories
    assert writer.write(0, b"abc") == 3
    assert writer.write(1, b"x" * 100) == SLOT_BYTES
    assert (reader.read(0, 3), reader.read(1, SLOT_BYTES)) == (b"abc", b"x" * SLOT_BYTES)
    assert reader.read(2, 1) == b"\0"


def test_descriptor_is_closed_once_it_is_mapped() -> None:
    descriptor = create_memory_file(SLOT_BYTES)
    SlotMemory(descriptor, 1, SLOT_BYTES)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_most_recently_used_slot_is_reused_first() -> None:
    pool = SlotPool(3)
    assert [pool.acquire() for _ in range(4)] == [0, 1, 2, None]
    pool.release(2)
    pool.release(0)
    assert (len(pool), pool.acquire()) == (2, 0)

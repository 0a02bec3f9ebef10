"""How often each API key may ask: one account for all processes of a service. Knows no HTTP."""

import fcntl
import mmap
import struct
import time

from ..shared_memory import memory_file

_FULL = struct.Struct("d")


class RateLimiter:
    """At most `rate` requests a second for each key, in bursts of one second's worth (generic cell rate algorithm).

    All it knows of a key is when its allowance will be whole again, in the system's monotonic clock: one float64 in a
    memory file that every process maps. A record lock guards it; the system takes that back from a process that dies.

    Args:
        rate: requests per second.
        keys: how many keys there are.
        descriptor: of the memory file that `accounts` has made; None makes one.
    """

    def __init__(self, rate: float, keys: int, descriptor: int | None = None) -> None:
        self._interval = 1 / rate
        self._slack = max(0.0, 1.0 - self._interval)
        self._file = accounts(keys) if descriptor is None else descriptor
        self._memory = mmap.mmap(self._file, keys * _FULL.size)

    def admit(self, key: int) -> float:
        """0 where the key's next request may pass, which then counts; else the seconds until it may."""
        offset = key * _FULL.size
        fcntl.lockf(self._file, fcntl.LOCK_EX, _FULL.size, offset)
        try:
            now = time.monotonic()
            (full,) = _FULL.unpack_from(self._memory, offset)
            wait = max(full, now) - now - self._slack
            if wait > 0:
                return float(wait)
            _FULL.pack_into(self._memory, offset, max(full, now) + self._interval)
            return 0.0
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _FULL.size, offset)


def accounts(keys: int) -> int:
    """The descriptor of a memory file with an account for each of `keys` keys."""
    return memory_file(keys * _FULL.size)

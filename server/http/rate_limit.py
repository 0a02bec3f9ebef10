"""Rate limit for each API key, shared by all processes of a service. No HTTP."""

import fcntl
import mmap
import struct
import time

from ..shared_memory import create_memory_file

_TIME = struct.Struct("d")


class RateLimiter:
    """At most `rate` requests per second and key, in bursts of one second's worth (generic cell rate algorithm).

    The state of a key is its theoretical arrival time on the system's monotonic clock: one float64 in a memory file
    that every process maps. A record lock guards it; the kernel releases the lock of a process that dies.

    Args:
        rate: requests per second.
        keys: number of keys.
        descriptor: memory file from `create_rate_limit_file`; None creates one.
    """

    def __init__(self, rate: float, keys: int, descriptor: int | None = None) -> None:
        self._interval = 1 / rate
        self._tolerance = max(0.0, 1.0 - self._interval)
        self._file = create_rate_limit_file(keys) if descriptor is None else descriptor
        self._memory = mmap.mmap(self._file, keys * _TIME.size)

    def admit(self, key: int) -> float:
        """Admit and count the next request of key `key`: 0, or the seconds to wait if the rate is exceeded."""
        offset = key * _TIME.size
        fcntl.lockf(self._file, fcntl.LOCK_EX, _TIME.size, offset)
        try:
            now = time.monotonic()
            (stored,) = _TIME.unpack_from(self._memory, offset)
            arrival = max(float(stored), now)
            wait = arrival - now - self._tolerance
            if wait > 0:
                return wait
            _TIME.pack_into(self._memory, offset, arrival + self._interval)
            return 0.0
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _TIME.size, offset)


def create_rate_limit_file(keys: int) -> int:
    """Descriptor of a new memory file with the rate limiter's state of `keys` keys."""
    return create_memory_file(keys * _TIME.size)

"""The sign of life that a process sends the supervisor, with what it has counted."""

import asyncio
import os
from collections.abc import Callable, Iterable

from .channel import Channel, Document
from .gpus import sample
from .metrics import Metrics, resident_bytes

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


def measure(metrics: Metrics, devices: Iterable[str]) -> None:
    """Sets the gauges of this process and of the GPUs among its `devices`."""
    metrics.set("tessella_resident_bytes", resident_bytes(), process=str(os.getpid()))
    sample(metrics, devices)

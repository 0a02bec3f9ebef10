"""The sign of life that a process sends the supervisor, with what it has counted."""

import asyncio
import os
from collections.abc import Callable

from .channel import Channel, Document
from .metrics import Metrics, resident_bytes

BEAT_SECONDS = 0.5


async def beat(channel: Channel, metrics: Metrics, more: Callable[[], Document]) -> None:
    """Sends one document every `BEAT_SECONDS`, with the keys that `more` gives, until cancelled."""
    while True:
        metrics.set("tessella_resident_bytes", resident_bytes(), process=str(os.getpid()))
        channel.send({"kind": "beat", "metrics": metrics.snapshot(), **more()})
        await asyncio.sleep(BEAT_SECONDS)

"""What an engine may take on, as the settings of a service say it. Knows no model."""

from typing import TypedDict

from .metrics import Metrics
from .settings import Settings


class Limits(TypedDict, total=False):
    """What an engine may take on; see AsyncEngine."""

    max_queue: int
    decode_threads: int | None
    max_pixels: int
    scaled_decode: bool
    gpu_resize_pixels: int
    metrics: Metrics | None


def limits_of(settings: Settings, metrics: Metrics, max_queue: int) -> Limits:
    """What the service's settings say of it, wherever an engine's model runs."""
    return {
        "max_queue": max_queue,
        "decode_threads": settings.decode_threads,
        "max_pixels": settings.max_pixels,
        "scaled_decode": settings.scaled_decode,
        "gpu_resize_pixels": settings.gpu_resize_pixels,
        "metrics": metrics,
    }

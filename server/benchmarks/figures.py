"""Seconds of model calls -> the figures of one batch size."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from ...models import costs
from ...models.backend_timings import relative_spread
from ...models.config import TNTConfig, ViTConfig
from ..runners import RunnerInfo
from .schemas import BenchmarkRow


def operations_of(info: RunnerInfo) -> int | None:
    """Of the published network, for one image: two per multiply-accumulate. None for an ONNX file of other makers."""
    match info.family:
        case "vit" if info.config:
            return 2 * costs.macs(ViTConfig(**info.config))
        case "tnt" if info.config:
            return 2 * costs.macs(TNTConfig(**info.config))
    return None


def rated(rows: Sequence[BenchmarkRow], operations: int | None, rate: float | None) -> list[BenchmarkRow]:
    """With their percentage of the matrix rate, where both are known.

    Args:
        operations: of one image.
        rate: operations per second that the machine reaches.
    """
    if operations is None or rate is None:
        return list(rows)
    percent = [100 * operations * row.batch_size / (row.p50_ms / 1e3) / rate for row in rows]
    return [row.model_copy(update={"roofline_percent": round(p, 2)}) for row, p in zip(rows, percent, strict=True)]


def row(size: int, times: Mapping[str, Sequence[float]], first: float) -> BenchmarkRow:
    """What the seconds of each call mean.

    Args:
        times: of `live`, and of `eager` where that was measured.
        first: seconds of the first call of all.
    """
    live = times["live"]
    p50, p95, p99 = np.percentile(live, [50, 95, 99])
    found: dict[str, float] = {}
    if "eager" in times:
        eager = statistics.median(times["eager"])
        found |= {
            "eager_p50_ms": ms(eager),
            "eager_images_per_second": round(size / eager, 2),
            "speedup": round(eager / p50, 3),
        }
    return BenchmarkRow(
        batch_size=size,
        iterations=len(live),
        first_ms=ms(first),
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), map(ms, (p50, p95, p99)), strict=True)),
        spread=round(relative_spread(live), 4),
        images_per_second=round(size / p50, 2),
        **found,
    )


def ms(seconds: float) -> float:
    return round(float(seconds) * 1e3, 4)

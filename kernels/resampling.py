"""Pillow's resampling as integers: which pixels a resized one is made of, and with what weights. Host side only.

Pillow weighs in fixed point with 22 fractional bits and rounds to bytes after each of its two passes; the same integers
give the same bytes. Source: Pillow, src/libImaging/Resample.c (precompute_coeffs, normalize_coeffs_8bpc,
ImagingResampleInner).
"""

import importlib.metadata
import math
from collections.abc import Callable
from functools import cache, lru_cache

import torch
from torch import Tensor

PRECISION_BITS = 22


def _triangle(x: float) -> float:
    return 1 - abs(x) if abs(x) < 1 else 0.0


def _cubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}


@lru_cache(maxsize=256)
def taps(source: int, target: int, first: int, count: int, interpolation: str) -> tuple[Tensor, Tensor]:
    """For pixels `first` to `first + count` of `target`, resized from `source` pixels.

    Returns:
        int32 (count,), where each one's source pixels start, and int32 (count, taps), their weights · 2²², zero-padded.

    Raises:
        ValueError: another interpolation than bilinear or bicubic.
    """
    if interpolation not in FILTERS:
        raise ValueError(f"interpolation {interpolation!r} is not one of {', '.join(FILTERS)}")
    kernel, radius = FILTERS[interpolation]
    scale = source / target
    stretch = max(scale, 1.0)
    support = radius * stretch
    width = math.ceil(support) * 2 + 1
    starts, weights = [], []
    for index in range(first, first + count):
        centre = (index + 0.5) * scale
        start = max(0, int(centre - support + 0.5))
        stop = min(source, int(centre + support + 0.5))
        row = [kernel((pixel - centre + 0.5) * (1 / stretch)) for pixel in range(start, stop)]
        total = sum(row)
        starts.append(start)
        weights.append([_fixed(value / total) for value in row] + [0] * (width - len(row)))
    return torch.tensor(starts, dtype=torch.int32), torch.tensor(weights, dtype=torch.int32)


def _fixed(weight: float) -> int:
    """Rounded half away from zero, as C's cast after adding a half."""
    return int(weight * (1 << PRECISION_BITS) + (0.5 if weight >= 0 else -0.5))


def vertical_first(source: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether the installed Pillow runs the vertical pass first, for (width, height) before and after.

    Since version 13 it does so where the height shrinks by more than twice the pixels that the width does.
    """
    shrink = source[1] - target[1]
    return pillow_version() >= 13 and shrink > max(0, 2 * (source[0] - target[0]))


@cache
def pillow_version() -> int:
    """The first number of it; the newest rule where Pillow is not installed."""
    try:
        return int(importlib.metadata.version("pillow").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 13

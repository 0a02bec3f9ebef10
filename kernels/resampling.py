"""Pillow's resampling as integers: which pixels a resized one is made of, and with what weights. Host side, no torch.

Pillow weighs in fixed point with 22 fractional bits and rounds to bytes after each of its two passes; the same integers
give the same bytes. Source: Pillow, src/libImaging/Resample.c (precompute_coeffs, normalize_coeffs_8bpc,
ImagingResampleInner).
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .versions import installed_version

PRECISION_BITS = 22
LARGEST_KEPT = 16
"""Tables that shrink by more than this factor are made anew each time: they are large, and rare."""
Reals = NDArray[np.float64]


class Taps(NamedTuple):
    """Of neighbouring pixels of a resized line.

    `words`: int32 (1 + taps, pixels): where each one's source pixels start, then their weights · 2²², padded with
    zeros. `first`, `stop`: the source pixels that any of them needs.
    """

    words: NDArray[np.int32]
    first: int
    stop: int


def _triangle(x: Reals) -> Reals:
    return np.maximum(1 - np.abs(x), 0.0)


def _cubic(x: Reals, a: float = -0.5) -> Reals:
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return np.where(x < 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0.0))


FILTERS: dict[str, tuple[Callable[[Reals], Reals], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}


def resizes(interpolation: str) -> bool:
    """Whether `resize_crop` has this one of Pillow's filters: with others, images are resized as they are decoded."""
    return interpolation in FILTERS


def taps(source: int, target: int, first: int, count: int, interpolation: str) -> Taps:
    """For pixels `first` to `first + count` of `target`, resized from `source` pixels. Read-only, as most are kept.

    Raises:
        ValueError: another interpolation than bilinear or bicubic.
    """
    if not resizes(interpolation):
        raise ValueError(f"interpolation {interpolation!r} is not one of {', '.join(FILTERS)}")
    return (_kept if source <= LARGEST_KEPT * target else _made)(source, target, first, count, interpolation)


def _made(source: int, target: int, first: int, count: int, interpolation: str) -> Taps:
    kernel, radius = FILTERS[interpolation]
    scale = source / target
    stretch = max(scale, 1.0)
    support = radius * stretch
    centres = (np.arange(first, first + count) + 0.5) * scale
    starts = np.maximum(0, (centres - support + 0.5).astype(np.int64))  # towards zero, as C's cast
    stops = np.minimum(source, (centres + support + 0.5).astype(np.int64))
    pixels = starts + np.arange((stops - starts).max())[:, None]
    weights = kernel((pixels - centres + 0.5) * (1 / stretch))
    weights[pixels >= stops] = 0.0
    words = np.concatenate([starts[None], _fixed(weights / _sum(weights))], dtype=np.int32, casting="unsafe")
    words.setflags(write=False)
    return Taps(words, int(starts[0]), int(stops[-1]))


_kept = lru_cache(maxsize=2048)(_made)


def _sum(weights: Reals) -> Reals:
    """One after another, as C's loop: NumPy's own sum may group them, and rounds otherwise."""
    total = np.zeros(weights.shape[1])
    for row in weights:
        total += row
    return total


def _fixed(weights: Reals) -> Reals:
    """Whole numbers, rounded half away from zero, as C's cast after adding a half."""
    return np.trunc(weights * (1 << PRECISION_BITS) + np.where(weights >= 0, 0.5, -0.5))


def vertical_first(source: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether the installed Pillow runs the vertical pass first, for (width, height) before and after.

    Since version 13 it does so where the height shrinks by more than twice the pixels that the width does.
    """
    shrink = source[1] - target[1]
    return pillow_version() >= 13 and shrink > max(0, 2 * (source[0] - target[0]))


@cache
def pillow_version() -> int:
    """The first number of it; the newest rule where Pillow is not installed."""
    version = installed_version("pillow")
    return int(version.split(".")[0]) if version else 13

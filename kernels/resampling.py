"""Pillow's resampling coefficients in fixed point: source pixels and weights of each output pixel. No torch.

Pillow accumulates in fixed point with 22 fractional bits and rounds to bytes after each of its two passes; the same
integers give the same bytes. Source: Pillow, src/libImaging/Resample.c (precompute_coeffs, normalize_coeffs_8bpc,
ImagingResampleInner).
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .versions import installed_version

PRECISION_BITS = 22
MAX_CACHED_SCALE = 16
"""Largest downscaling factor whose tables are cached: those beyond it are large, and rare."""
Reals = NDArray[np.float64]


class Taps(NamedTuple):
    """Filter taps of consecutive output pixels along one side.

    Attributes:
        table: int32 (1 + taps, pixels): the first source pixel of each, then its weights · 2²², padded with zeros.
        first, stop: range of source pixels that any of them reads.
    """

    table: NDArray[np.int32]
    first: int
    stop: int


def _triangle(x: Reals) -> Reals:
    return np.maximum(1 - np.abs(x), 0.0)


def _cubic(x: Reals, a: float = -0.5) -> Reals:
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return np.where(x < 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0.0))


FILTERS: dict[str, tuple[Callable[[Reals], Reals], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""Kernel and radius of each filter."""


def supports_interpolation(interpolation: str) -> bool:
    """True for the filters that `resize_crop` has; other interpolations are left to Pillow, after decoding."""
    return interpolation in FILTERS


def taps(source: int, target: int, first: int, count: int, interpolation: str) -> Taps:
    """Filter taps for output pixels `first` to `first + count`.

    Args:
        source, target: length of the side before and after the resize, in pixels.
        interpolation: `bilinear` or `bicubic`.

    Returns:
        Taps with a read-only table, as most are cached.

    Raises:
        ValueError: the interpolation is neither bilinear nor bicubic.
    """
    if not supports_interpolation(interpolation):
        raise ValueError(f"interpolation {interpolation!r} is not one of {', '.join(FILTERS)}")
    compute = _cached_taps if source <= MAX_CACHED_SCALE * target else _compute_taps
    return compute(source, target, first, count, interpolation)


def _compute_taps(source: int, target: int, first: int, count: int, interpolation: str) -> Taps:
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
    fixed = _to_fixed_point(weights / _sequential_sum(weights))
    table = np.concatenate([starts[None], fixed], dtype=np.int32, casting="unsafe")
    table.setflags(write=False)
    return Taps(table, int(starts[0]), int(stops[-1]))


_cached_taps = lru_cache(maxsize=2048)(_compute_taps)


def _sequential_sum(weights: Reals) -> Reals:
    """Sum over taps in order, as C's loop: NumPy's own sum may be pairwise, and then rounds differently."""
    total = np.zeros(weights.shape[1])
    for row in weights:
        total += row
    return total


def _to_fixed_point(weights: Reals) -> Reals:
    """Weights · 2²² as whole numbers, rounded half away from zero, as C's cast after adding a half."""
    return np.trunc(weights * (1 << PRECISION_BITS) + np.where(weights >= 0, 0.5, -0.5))


def vertical_first(source: tuple[int, int], target: tuple[int, int]) -> bool:
    """True where the installed Pillow runs the vertical pass first.

    Since version 13 it does so where the height shrinks by more than twice the pixels that the width does.

    Args:
        source, target: (width, height) before and after the resize.
    """
    shrink = source[1] - target[1]
    return pillow_version() >= 13 and shrink > max(0, 2 * (source[0] - target[0]))


@cache
def pillow_version() -> int:
    """Major version of the installed Pillow; 13, the newest rule, where none is installed."""
    version = installed_version("pillow")
    return int(version.split(".")[0]) if version else 13

"""Resampling coefficients against Pillow's loop, one number at a time."""

import numpy as np
import pytest

from tessella.kernels import resampling


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_an_unchanged_size_copies_every_pixel(interpolation: str) -> None:
    """Weights are exactly 0 and 1 whatever the size, so that such an image passes unchanged among others."""
    for side in (1, 2, 3, 24, 224, 384, 518):
        table = resampling.taps(side, side, 0, side, interpolation)
        positions = np.minimum(table.table[0] + np.arange(len(table.table) - 1)[:, None], side - 1)
        passed = np.zeros((side, side), np.int64)
        np.add.at(passed, (np.arange(side)[None], positions), table.table[1:])
        assert np.array_equal(passed, np.eye(side, dtype=np.int64) << resampling.PRECISION_BITS)


def test_taps_are_those_of_pillows_loop() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        source, target = (int(generator.integers(1, high)) for high in (generator.choice([30, 3000]), 300))
        first = int(generator.integers(0, target))
        count = int(generator.integers(1, min(target - first, 40) + 1))
        for interpolation in resampling.FILTERS:
            table = resampling.taps(source, target, first, count, interpolation)
            expected = [one_by_one(source, target, index, interpolation) for index in range(first, first + count)]
            assert table.table[0].tolist() == [start for start, _ in expected]
            for found, (_, weights) in zip(table.table[1:].T.tolist(), expected, strict=True):
                assert found == weights + [0] * (len(found) - len(weights))
            assert (table.first, table.stop) == (expected[0][0], expected[-1][0] + len(expected[-1][1]))


def one_by_one(source: int, target: int, index: int, interpolation: str) -> tuple[int, list[int]]:
    """Where a pixel's source pixels start, and their weights, as C computes them: a number at a time."""
    scale = source / target
    support = (2.0 if interpolation == "bicubic" else 1.0) * max(scale, 1.0)
    centre = (index + 0.5) * scale
    start, stop = max(0, int(centre - support + 0.5)), min(source, int(centre + support + 0.5))
    weights, total = [], 0.0
    for pixel in range(start, stop):
        x = abs((pixel - centre + 0.5) * (1 / max(scale, 1.0)))
        if interpolation == "bilinear":
            weight = 1 - x if x < 1 else 0.0
        elif x < 1:
            weight = ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1
        else:
            weight = (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2 else 0.0
        weights.append(weight)
        total += weight
    return start, [int(weight / total * (1 << 22) + (0.5 if weight >= 0 else -0.5)) for weight in weights]


def test_other_interpolations_are_rejected() -> None:
    with pytest.raises(ValueError, match="'lanczos' is not one of bilinear, bicubic"):
        resampling.taps(8, 12, 0, 4, "lanczos")
    names = ("nearest", "bicubic", "box", "bilinear")
    assert [name for name in names if resampling.supports_interpolation(name)] == ["bicubic", "bilinear"]


def test_only_large_tables_are_computed_anew() -> None:
    limit = 4 * resampling.MAX_CACHED_SCALE
    assert resampling.taps(limit, 4, 0, 4, "bilinear") is resampling.taps(limit, 4, 0, 4, "bilinear")
    assert resampling.taps(limit + 1, 4, 0, 4, "bilinear") is not resampling.taps(limit + 1, 4, 0, 4, "bilinear")

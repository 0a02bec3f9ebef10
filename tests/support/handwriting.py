"""Three handwritings: the ten digits as pen paths, for tests that draw them. Not tuned to a network.

A digit is one or more strokes, separated by slashes. A stroke is a list of points in hundredths of the digit's box from
the top left, connected by a smooth curve; a repeated point is a corner.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

STEPS = 3
"""Mouse positions per point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """One person's handwriting.

    Attributes:
        pen: width in hundredths of the drawing area.
        aspect: width of a digit over its height.
        slant: shift of a digit's top to the right, in heights.
        sizes: minimum and maximum height, in units of the drawing area.
        digits: strokes of each digit.
    """

    name: str
    pen: float
    aspect: float
    slant: float
    sizes: tuple[float, float]
    digits: tuple[str, ...]

    def write(self, digit: int) -> list[list[Point]]:
        """Pen positions of each stroke, in units of the drawing area.

        Size, position and a slight tremor are pseudo-random, but the same in every run.
        """
        rng = random.Random(f"{self.name} {digit}")
        height = rng.uniform(*self.sizes)
        strokes = [_smooth(self._slanted(_points(stroke), height, rng)) for stroke in self.digits[digit].split("/")]
        xs, ys = zip(*(point for stroke in strokes for point in stroke), strict=True)
        edge = 0.04 + self.pen / 200
        left = _offset(rng, min(xs), max(xs), edge)
        top = _offset(rng, min(ys), max(ys), edge)
        return [[(x + left, y + top) for x, y in stroke] for stroke in strokes]

    def _slanted(self, points: list[Point], height: float, rng: random.Random) -> list[Point]:
        """Scaled and slanted points with a tremor; a repeated point stays one point."""
        moved: dict[Point, Point] = {}
        for x, y in points:
            dx, dy = (rng.gauss(0, 0.012 * height) for _ in "xy")
            position = (height * (self.aspect * x + self.slant * (1 - y)) + dx, height * y + dy)
            moved.setdefault((x, y), position)
        return [moved[point] for point in points]


def _points(stroke: str) -> list[Point]:
    """Points in units of the digit's box."""
    pairs = (pair.split(",") for pair in stroke.split())
    return [(int(x) / 100, int(y) / 100) for x, y in pairs]


def _offset(rng: random.Random, low: float, high: float, edge: float) -> float:
    """Random offset that keeps the interval from `low` to `high` within the edges; central ones are likelier."""
    free = 1 - 2 * edge - (high - low)
    return edge - low + max(0.0, free) * rng.triangular(0, 1, 0.5)


def _smooth(path: Sequence[Point]) -> list[Point]:
    """Catmull-Rom curve through the points, interrupted at corners."""
    curve = [path[0]]
    for i in range(len(path) - 1):
        start, end = path[i], path[i + 1]
        if start == end:
            curve.append(end)
            continue
        before = path[i - 1] if i > 0 else start
        after = path[i + 2] if i + 2 < len(path) else end
        curve += [_interpolate(before, start, end, after, step / STEPS) for step in range(1, STEPS + 1)]
    return curve


def _interpolate(before: Point, start: Point, end: Point, after: Point, t: float) -> Point:
    def coordinate(p: float, q: float, r: float, s: float) -> float:
        return 0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)

    return (
        coordinate(before[0], start[0], end[0], after[0]),
        coordinate(before[1], start[1], end[1], after[1]),
    )


SCHOOL = Hand(
    name="school",
    pen=6.5,
    aspect=0.62,
    slant=0.0,
    sizes=(0.6, 0.8),
    digits=(
        "50,0 25,10 9,35 9,65 25,90 50,100 75,90 91,65 91,35 75,10 50,0",
        "20,30 60,0 60,0 60,100",
        "12,27 25,6 52,0 80,10 83,34 50,68 10,100 10,100 92,100",
        "13,15 42,0 78,10 76,35 40,46 40,46 76,55 88,76 70,97 40,100 8,86",
        "38,0 6,66 6,66 96,66 / 70,34 70,100",
        "24,2 18,45 18,45 50,38 82,50 86,74 66,97 36,100 8,88 / 24,2 84,2",
        "74,3 42,18 18,48 12,76 32,98 64,98 86,78 74,56 46,50 16,68",
        "8,2 92,2 92,2 60,46 42,100",
        "78,16 50,0 20,12 24,34 52,47 82,64 82,88 50,100 16,88 18,64 50,46 76,32 78,16",
        "84,26 62,2 30,5 14,28 32,52 64,50 84,26 84,26 80,100",
    ),
)

FAST = Hand(
    name="fast",
    pen=3.5,
    aspect=0.5,
    slant=0.28,
    sizes=(0.45, 0.65),
    digits=(
        "62,7 30,8 8,45 16,86 45,100 82,80 92,42 74,8 45,3 36,12",
        "50,0 48,50 50,100",
        "10,20 44,0 82,14 66,50 12,96 12,96 40,90 68,100 100,90",
        "12,12 50,0 80,16 38,44 38,44 80,62 66,92 2,96",
        "34,0 8,56 8,56 100,52 / 78,18 62,100",
        "96,0 32,3 32,3 22,42 22,42 64,44 82,68 55,96 0,94",
        "70,0 26,42 10,78 38,100 78,84 60,58 16,74",
        "6,12 24,0 92,4 92,4 56,50 38,100",
        "84,14 46,0 16,20 46,44 76,72 46,100 10,82 42,52 90,10",
        "84,14 46,0 10,22 32,46 74,28 86,8 86,8 76,56 56,100",
    ),
)

ROUND = Hand(
    name="round",
    pen=9.5,
    aspect=0.82,
    slant=-0.04,
    sizes=(0.62, 0.84),
    digits=(
        "90,79 65,98 33,97 8,77 0,46 12,17 40,1 72,5 94,27 99,58 84,86",
        "14,32 52,0 52,0 52,100 / 14,100 92,100",
        "10,28 30,3 66,2 88,26 66,58 34,88 12,98 6,84 26,80 56,96 80,100 100,84",
        "10,2 86,2 86,2 44,40 44,40 80,48 92,74 68,98 34,100 4,85",
        "70,100 70,0 70,0 2,70 2,70 100,70",
        "86,3 20,3 20,3 14,44 14,44 50,35 86,48 92,74 64,98 30,100 4,87",
        "84,14 56,0 24,18 6,60 24,94 56,100 88,86 90,62 62,47 28,54 10,70",
        "6,20 8,3 8,3 92,3 92,3 56,54 42,100 / 20,53 88,53",
        "50,48 71,43 83,31 83,17 71,5 50,0 29,5 17,17 17,31 29,43 50,48 / "
        "50,48 22,53 4,66 4,82 22,95 50,100 78,95 96,82 96,66 78,53 50,48",
        "86,30 70,4 34,2 10,24 22,50 56,56 86,32 86,32 90,70 70,96 38,100 10,90",
    ),
)

HANDS = (SCHOOL, FAST, ROUND)

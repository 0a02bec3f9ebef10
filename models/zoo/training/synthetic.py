"""Synthetic digits, drawn with a pen on a canvas: a second validation set, never used in training."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CANVAS = 280
"""Side of an image in pixels."""
# A style is strokes separated by "|". A stroke is points "x,y" on a square of 100, joined by a curve, or by lines after
# "!".
_STYLES: dict[int, tuple[str, ...]] = {
    0: (
        "50,5 25,20 18,50 25,80 50,95 75,80 82,50 75,20 50,5",
        "55,6 38,18 32,50 36,82 50,94 64,82 68,50 62,18 50,5",
        "62,8 35,12 12,45 22,82 50,92 80,75 88,40 66,10 50,12",
    ),
    1: ("!50,5 50,95", "!30,28 52,5 52,95", "!32,25 50,5 50,95 | !30,95 70,95", "!60,5 42,95"),
    2: (
        "22,28 32,10 55,5 75,18 72,40 50,62 20,93 | !20,93 80,93",
        "20,25 45,5 72,15 70,40 40,75 22,92 18,80 32,78 55,90 82,88",
        "!22,8 72,8 72,45 22,92 80,92",
    ),
    3: (
        "22,15 45,5 70,14 70,35 42,47 72,58 76,80 50,95 20,85",
        "!22,7 72,7 45,42 | 45,42 74,55 74,82 48,95 20,84",
        "25,20 50,6 68,22 60,42 38,48 66,56 70,78 48,94 26,80",
    ),
    4: (
        "!62,95 62,5 15,65 85,65",
        "!25,5 22,55 78,55 | !68,8 68,95",
        "!45,5 20,62 82,60 | !62,35 55,95",
        "30,10 24,35 30,52 55,54 70,48 | 74,8 70,45 66,95",
    ),
    5: (
        "!72,6 30,6 27,42 | 27,42 55,38 76,58 70,85 45,95 20,85",
        "30,8 27,45 55,40 75,60 65,88 40,95 20,84 | !30,8 75,6",
        "!75,8 28,8 25,48 70,48 72,90 22,90",
    ),
    6: (
        "66,5 40,22 24,55 28,82 50,95 72,82 70,60 50,52 28,66",
        "58,4 34,40 28,75 46,95 66,86 68,66 50,58 32,72",
        "75,14 50,8 26,35 22,70 42,94 70,88 76,66 54,54 26,66",
    ),
    7: ("!20,8 78,8 42,95", "!20,8 78,8 42,95 | !32,50 70,50", "20,14 45,8 76,9 58,45 46,95", "!22,22 22,7 78,7 50,95"),
    8: (
        "70,18 50,5 30,18 36,38 62,56 74,78 50,95 26,78 38,56 64,38 70,18",
        "50,5 30,16 32,38 50,46 68,38 70,16 50,5 | 50,46 26,60 26,84 50,95 74,84 74,60 50,46",
        "68,10 40,8 30,28 68,66 66,90 38,94 30,72 66,32 68,10",
    ),
    9: (
        "72,28 55,6 30,16 28,42 50,52 70,38 74,22 | !74,22 70,95",
        "70,20 48,6 28,24 36,46 60,44 72,24 72,60 60,88 32,92",
        "74,30 52,5 28,25 40,48 66,40 74,20 70,60 52,95",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PenDigits:
    """Synthetic digits: RGB images, int64 labels (N,), and their styles as "digit/style"."""

    images: tuple[Image.Image, ...]
    labels: NDArray[np.int64]
    styles: tuple[str, ...]


def pen_digits(per_style: int = 10, seed: int = 7, photographed: bool = False) -> PenDigits:
    """Draw every style `per_style` times on RGB canvases of 280×280, with pens of 6 to 28 pixels, in both polarities.

    Args:
        photographed: on gray, unevenly lit, noisy paper instead of a clean canvas.
    """
    random = np.random.default_rng(seed)
    images, labels, names = [], [], []
    for digit, style, text in _styles():
        for _ in range(per_style):
            coverage = draw(text, random)
            images.append(_photograph(coverage, random) if photographed else _screen(coverage, random))
            labels.append(digit)
            names.append(f"{digit}/{style}")
    return PenDigits(tuple(images), np.array(labels, dtype=np.int64), tuple(names))


def _styles() -> Iterator[tuple[int, int, str]]:
    for digit, styles in _STYLES.items():
        for number, text in enumerate(styles):
            yield digit, number, text


def draw(style: str, random: np.random.Generator) -> NDArray[np.float32]:
    """One style at a random position and slant: float32 (280, 280), 0 paper to 1 ink."""
    height = random.uniform(0.4, 0.9)
    width = min(random.choice([6, 10, 14, 20, 28]), 0.2 * height * CANVAS)
    room = (CANVAS - width) * (1 - height) / 2
    centre = CANVAS / 2 + random.uniform(-room, room, 2)
    angle, slant, squeeze = random.normal(0, 0.07), random.normal(0, 0.12), random.uniform(0.8, 1.1)
    shape = np.array([[squeeze, -slant], [0, 1]]) @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    sheet = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    pencil = ImageDraw.Draw(sheet)
    for stroke in style.split("|"):
        points = (_points(stroke.strip()) / 100 - 0.5) * height * (CANVAS - width) @ shape.T + centre
        _ink(pencil, 2 * points, 2 * width)
    return np.asarray(sheet.resize((CANVAS, CANVAS), Image.Resampling.BOX)).astype(np.float32) / np.float32(255)


def _points(stroke: str) -> NDArray[np.float64]:
    corners = np.array([point.split(",") for point in stroke.removeprefix("!").split()], dtype=np.float64)
    return corners if stroke.startswith("!") else _curve(corners)


def _curve(corners: NDArray[np.float64], steps: int = 12) -> NDArray[np.float64]:
    """Catmull-Rom spline through the corners."""
    padded = np.concatenate([corners[:1], corners, corners[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3) / 2
        for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True)
    ]
    return np.concatenate([*pieces, corners[-1:]])


def _ink(pencil: ImageDraw.ImageDraw, points: NDArray[np.float64], width: float) -> None:
    pencil.line([tuple(point) for point in points.tolist()], fill=255, width=round(width))
    for x, y in points.tolist():
        pencil.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)


def _screen(coverage: NDArray[np.float32], random: np.random.Generator) -> Image.Image:
    light = coverage if random.random() < 0.5 else 1 - coverage
    return Image.fromarray((light * 255).round().astype(np.uint8)).convert("RGB")


def _photograph(coverage: NDArray[np.float32], random: np.random.Generator) -> Image.Image:
    paper, pen = random.uniform(0.55, 0.95), random.uniform(0.05, 0.35)
    y, x = np.mgrid[-1:1:280j, -1:1:280j]
    light = 1 + random.normal(0, 0.2) * x + random.normal(0, 0.2) * y
    grain = random.normal(0, 0.06, coverage.shape)
    picture = (paper + (pen - paper) * coverage) * light + grain
    return Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)).convert("RGB")

"""What a network attended to, for an answer: the numbers, and a picture of them over the image. Needs no matplotlib."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .tasks import Task

LEAST_SIDE = 224
"""Pixels: smaller images are enlarged by a whole factor before they are drawn over."""
OPACITY = 0.65
_VIRIDIS = "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725"
_COLOURS = np.array([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in _VIRIDIS.split()], np.float32)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one image. `values`: float32 (layers, h, w). `overlay`: a PNG file, the last layer over the grey image."""

    task: Task
    values: NDArray[np.float32]
    overlay: bytes

    @classmethod
    def of(cls, task: Task, pixels: NDArray[np.uint8], values: NDArray[np.float32]) -> "Explanation":
        """`pixels`: uint8 (S, S, 3), as the network saw them."""
        return cls(task, values, overlay(pixels, values[-1]))


def overlay(pixels: NDArray[np.uint8], shares: NDArray[np.float32]) -> bytes:
    """A PNG file of a map (h, w) over the image (S, S, 3), from its least (dark) to its greatest value (bright)."""
    side = len(pixels) * -(-LEAST_SIDE // len(pixels)) if len(pixels) < LEAST_SIDE else len(pixels)
    grey = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.NEAREST).convert("RGB")
    colours = Image.fromarray(colour(shares)).resize((side, side), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    Image.blend(grey, colours, OPACITY).save(buffer, "PNG")
    return buffer.getvalue()


def colour(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w) -> uint8 (h, w, 3): colours of growing lightness, which colour-blind people tell apart too."""
    low, high = float(shares.min()), float(shares.max())
    place = (shares - low) / (high - low) * (len(_COLOURS) - 1) if high > low else np.zeros_like(shares)
    below = np.minimum(place.astype(np.intp), len(_COLOURS) - 2)
    mixed = _COLOURS[below] + (place - below)[..., None] * (_COLOURS[below + 1] - _COLOURS[below])
    return mixed.round().astype(np.uint8)

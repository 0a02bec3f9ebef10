"""Images on their way to a network. No torch here: front ends hand them over."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Frame(NamedTuple):
    """An image on its way to a network.

    `pixels`: uint8 (H, W, 3). `ready`: they are what the network sees; else they are still to be resized and cropped.
    """

    pixels: Pixels
    ready: bool = True


DEFAULT_MAX_GPU_RESIZE_PIXELS = 400_000
"""Largest image, in pixels, that is handed over unready where nobody says otherwise."""
LARGEST_SIDE = 65_535
LARGEST_BYTES = 250_000_000
Frames = Pixels | Sequence[Frame]
"""A batch: (B, H, W, 3), all of them ready, or one frame for each image."""


def stacked(frames: Frames) -> Pixels:
    """(B, H, W, 3), for those who take what the network sees.

    Raises:
        ValueError: a frame is still to be resized.
    """
    if isinstance(frames, np.ndarray):
        return frames
    if not all_ready(frames):
        raise ValueError("an image was handed over that is still to be resized, to a runner that does not do that")
    return np.stack([frame.pixels for frame in frames])


def all_ready(frames: Sequence[Frame]) -> bool:
    return all(frame.ready for frame in frames)


def ready_pixels(frames: Frames) -> list[Pixels]:
    """The images of a batch of which all are ready, of one shape.

    Raises:
        ValueError: no image, or images of several shapes.
    """
    images = list(frames) if isinstance(frames, np.ndarray) else [frame.pixels for frame in frames]
    shapes = sorted({image.shape for image in images})
    if len(shapes) != 1:
        raise ValueError(f"expected images of one shape, got {len(shapes)}: {', '.join(map(str, shapes))}")
    return images


def resizable(width: int, height: int) -> bool:
    """Whether an image of this size is worth handing over unready where a model resizes.

    Others would hold up all that come after them: by their tables, which grow with the longer side, or by their bytes.
    """
    return max(width, height) <= LARGEST_SIDE and width * height * 3 <= LARGEST_BYTES

"""Images on their way to a network. No torch here: front ends hand them over."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Frame(NamedTuple):
    """An image on its way to a network.

    `pixels`: uint8 (H, W, 3). `ready`: they are what the network sees; else they are still to be resized and cropped.
    """

    pixels: NDArray[np.uint8]
    ready: bool = True


Frames = NDArray[np.uint8] | Sequence[Frame]
"""A batch: (B, H, W, 3), all of them ready, or one frame for each image."""


def stacked(frames: Frames) -> NDArray[np.uint8]:
    """(B, H, W, 3), for those who take what the network sees.

    Raises:
        ValueError: a frame is still to be resized.
    """
    if isinstance(frames, np.ndarray):
        return frames
    if not all(frame.ready for frame in frames):
        raise ValueError("an image was handed over that is still to be resized, to a runner that does not do that")
    return np.stack([frame.pixels for frame in frames])

"""Input images of a network, preprocessed or as decoded. No torch."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DEFAULT_MAX_GPU_RESIZE_PIXELS = 400_000
"""Largest image, in pixels, that is resized on the GPU by default."""
MAX_DEVICE_RESIZE_SIDE = 65_535
MAX_DEVICE_RESIZE_BYTES = 250_000_000

Pixels = NDArray[np.uint8]


class InputImage(NamedTuple):
    """Pixels of one image.

    `pixels`: uint8 (H, W, 3). `preprocessed`: already resized and cropped to the network's input size.
    """

    pixels: Pixels
    preprocessed: bool = True


ImageBatch = Pixels | Sequence[InputImage]
"""A batch: preprocessed pixels (B, H, W, 3), or one `InputImage` for each image."""


def stack_images(images: ImageBatch) -> Pixels:
    """Preprocessed pixels (B, H, W, 3) of a batch.

    Raises:
        ValueError: an image is not preprocessed.
    """
    if isinstance(images, np.ndarray):
        return images
    if not all_preprocessed(images):
        raise ValueError("this runner takes preprocessed images only; resize and crop them first")
    return np.stack([image.pixels for image in images])


def all_preprocessed(images: Sequence[InputImage]) -> bool:
    """True if no image of the batch has still to be resized."""
    return all(image.preprocessed for image in images)


def preprocessed_pixels(images: ImageBatch) -> list[Pixels]:
    """Pixels of each image of a preprocessed batch; all have one shape.

    Raises:
        ValueError: no image, or images of several shapes.
    """
    pixels = list(images) if isinstance(images, np.ndarray) else [image.pixels for image in images]
    shapes = sorted({array.shape for array in pixels})
    if len(shapes) != 1:
        raise ValueError(f"expected images of one shape, got {len(shapes)}: {', '.join(map(str, shapes))}")
    return pixels


def resizable_on_device(width: int, height: int) -> bool:
    """Size limit of images that are resized on the device; larger ones are resized on the host.

    The kernels' tables grow with the longer side, and the transfer with the number of bytes: both would delay the
    batches behind.
    """
    return max(width, height) <= MAX_DEVICE_RESIZE_SIDE and width * height * 3 <= MAX_DEVICE_RESIZE_BYTES

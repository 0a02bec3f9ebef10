"""Preprocessing of a decoded image: resize and crop to uint8, exactly as the checkpoint was evaluated. No torch."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ResizeMode = Literal["shortest", "squash"]
CropRounding = Literal["even", "floor"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]

MAX_RESIZED_PIXELS = 64_000_000


class Placement(NamedTuple):
    """Resize and crop of one image, in pixels.

    `resized`: (width, height) of the whole image after the resize. `corner`: (left, top) of the crop in it.
    """

    resized: tuple[int, int]
    corner: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Preprocessor config of a checkpoint.

    `size`: side of the square network input, in pixels. `resize`: length of the image's shorter side (mode `shortest`)
    or of both sides (`squash`) after the resize with Pillow's antialiased filter, before the centre crop to `size`.
    `crop`: half of an odd margin is rounded to even (timm, after torchvision) or down (Hugging Face).
    `mean`, `std`: per channel, in units of the pixel range 0..1; applied in the network's first layer, not here.

    Raises:
        ValueError: `size` is not positive or exceeds `resize`.
    """

    size: int
    resize: int
    mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    crop: CropRounding = "even"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.resize:
            raise ValueError(f"the crop ({self.size} pixels) must be positive and fit into the resize ({self.resize})")

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image of any size -> uint8 (size, size, 3).

        Order and rounding follow timm's evaluation transform and Hugging Face's image processors on Pillow images:
        the pixels are identical.

        Raises:
            ValueError: the aspect ratio is so extreme that the resized image exceeds MAX_RESIZED_PIXELS.
        """
        placement = self.placement(*image.size)
        resized = image.resize(placement.resized, Image.Resampling[self.interpolation.upper()])
        left, top = placement.corner
        return np.array(resized.crop((left, top, left + self.size, top + self.size)))

    def placement(self, width: int, height: int) -> Placement:
        """Resized size and crop corner of an image of this size.

        Raises:
            ValueError: as `__call__`.
        """
        resized = self.resized_size(width, height)
        if resized[0] * resized[1] > MAX_RESIZED_PIXELS:
            raise ValueError(
                f"an image of {width}×{height} pixels would be {resized[0]}×{resized[1]} after the resize; "
                "crop it to a less extreme aspect ratio"
            )
        return Placement(resized, (self._margin(resized[0]), self._margin(resized[1])))

    def uncrop(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Inverse of the crop: uint8 (B, size, size, 3) -> (B, resize, resize, 3), zero-padded."""
        before = self._margin(self.resize)
        after = self.resize - self.size - before
        return np.pad(pixels, ((0, 0), (before, after), (before, after), (0, 0)))

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the resize; the longer side is rounded down."""
        if self.mode == "squash":
            return self.resize, self.resize
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def _margin(self, side: int) -> int:
        return round((side - self.size) / 2) if self.crop == "even" else (side - self.size) // 2

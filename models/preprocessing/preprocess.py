"""From a decoded image to the uint8 pixels a network sees: resize and crop, exactly as the checkpoint was evaluated."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ResizeMode = Literal["shortest", "squash"]
CropRounding = Literal["even", "floor"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]

LARGEST_RESIZED_PIXELS = 64_000_000


class Placement(NamedTuple):
    """`resized`: (width, height) that the whole image gets. `corner`: (left, top) of the crop in it. Pixels."""

    resized: tuple[int, int]
    corner: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The recipe of a checkpoint.

    `size`: side of the square the network sees. `resize`: the image's shorter side (mode `shortest`) or both of its
    sides (`squash`) become this many pixels, with Pillow's antialiased filter, before the centre crop to `size`.
    `crop`: an odd margin is halved to the even side (timm, after torchvision) or down (Hugging Face).
    `mean`, `std`: per channel, in units of the pixel range 0..1; the network's first step applies them.
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

        The order and the rounding are those of timm's evaluation transform and of Hugging Face's processors on Pillow
        images, so the pixels are theirs.

        Raises:
            ValueError: so extreme an aspect ratio that the resized image would be huge.
        """
        placement = self.placement(*image.size)
        resized = image.resize(placement.resized, Image.Resampling[self.interpolation.upper()])
        left, top = placement.corner
        return np.array(resized.crop((left, top, left + self.size, top + self.size)))

    def placement(self, width: int, height: int) -> Placement:
        """Where the crop of an image of this size lies, without its pixels.

        Raises:
            ValueError: as for the image itself.
        """
        resized = self.resized_size(width, height)
        if resized[0] * resized[1] > LARGEST_RESIZED_PIXELS:
            raise ValueError(
                f"an image of {width}×{height} pixels would be {resized[0]}×{resized[1]} after the resize; "
                "crop it to a less extreme aspect ratio"
            )
        return Placement(resized, (self._margin(resized[0]), self._margin(resized[1])))

    def surround(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (B, size, size, 3) -> (B, resize, resize, 3), of which this very preprocessing makes `pixels` again."""
        before = self._margin(self.resize)
        after = self.resize - self.size - before
        return np.pad(pixels, ((0, 0), (before, after), (before, after), (0, 0)))

    def _margin(self, side: int) -> int:
        return round((side - self.size) / 2) if self.crop == "even" else (side - self.size) // 2

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the resize: the longer side is cut down to whole pixels."""
        if self.mode == "squash":
            return self.resize, self.resize
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

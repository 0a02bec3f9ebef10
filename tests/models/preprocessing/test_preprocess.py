"""Preprocessing: placement of the crop, its inverse, and refused sizes."""

import numpy as np
import pytest
from PIL import Image

from tessella.models.preprocessing.preprocess import Preprocessing

DEFAULT = Preprocessing(size=224, resize=256)


def test_pixels_are_writable_uint8() -> None:
    pixels = DEFAULT(Image.new("RGB", (300, 260), "red"))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (224, 224, 3)
    assert pixels.flags.writeable


def test_an_extreme_aspect_ratio_is_refused() -> None:
    with pytest.raises(ValueError, match=r"20000×1 pixels.*less extreme aspect ratio"):
        DEFAULT(Image.new("RGB", (20_000, 1)))
    with pytest.raises(ValueError, match=r"20000×1 pixels.*less extreme aspect ratio"):
        DEFAULT.placement(20_000, 1)


@pytest.mark.parametrize(
    ("preprocessing", "resized", "corner"),
    [
        (Preprocessing(size=224, resize=256), (341, 256), (58, 16)),
        (Preprocessing(size=224, resize=256, crop="floor"), (341, 256), (58, 16)),
        (Preprocessing(size=31, resize=34), (45, 34), (7, 2)),
        (Preprocessing(size=31, resize=34, crop="floor"), (45, 34), (7, 1)),
        (Preprocessing(size=24, resize=30, mode="squash"), (30, 30), (3, 3)),
    ],
)
def test_placement_of_the_crop(preprocessing: Preprocessing, resized: tuple[int, int], corner: tuple[int, int]) -> None:
    assert preprocessing.placement(640, 480) == (resized, corner)


@pytest.mark.parametrize("crop", ["even", "floor"])
@pytest.mark.parametrize("resize", [8, 9, 11])
def test_uncrop_is_the_inverse_of_the_crop(crop: str, resize: int) -> None:
    preprocessing = Preprocessing(size=8, resize=resize, crop=crop)  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    images = preprocessing.uncrop(pixels)
    assert images.shape == (2, resize, resize, 3)
    assert np.array_equal(np.stack([preprocessing(Image.fromarray(image)) for image in images]), pixels)


@pytest.mark.parametrize(("size", "resize"), [(0, 8), (9, 8)])
def test_a_crop_that_does_not_fit_is_refused(size: int, resize: int) -> None:
    with pytest.raises(ValueError, match="must be positive and fit into the resize"):
        Preprocessing(size=size, resize=resize)

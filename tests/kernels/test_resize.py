"""`resize_crop` against Pillow, byte for byte, in PyTorch and in Triton's interpreter."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.kernels import resampling, resize
from tessella.kernels.options import Options
from tessella.kernels.resize_plan import Crop

TRITON, TORCH = Options(implementation="triton"), Options(implementation="torch")


SHAPES = [
    (91, 57, (51, 32)),
    (20, 33, (32, 52)),
    (40, 40, (40, 40)),
    (200, 31, (24, 24)),
    (3, 5, (24, 40)),
    (1, 1, (25, 25)),
    (1, 70, (24, 24)),
    (64, 1, (31, 24)),
    (50, 300, (40, 99)),
    (300, 50, (99, 40)),
    (24, 24, (24, 24)),
]
"""Width, height and (width, height) after the resize: portrait, landscape, larger, squashed, 1 pixel, unchanged."""
SIZE = 24


@pytest.mark.parametrize("options", [TORCH, TRITON], ids=["torch", "triton"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_batch_of_all_sizes_is_pillows_byte_for_byte(interpolation: str, options: Options) -> None:
    images = [noise(width, height) for width, height, _ in SHAPES]
    crops = [centred((width, height), resized, SIZE) for width, height, resized in SHAPES]
    result = resize.resize_crop(packed(images), crops, SIZE, interpolation, options=options)
    for image, crop, square in zip(images, crops, result.numpy(), strict=True):
        assert np.array_equal(square, by_pillow(image, crop, SIZE, interpolation)), crop


@pytest.mark.parametrize("options", [TORCH, TRITON], ids=["torch", "triton"])
def test_the_order_of_the_passes_is_that_of_the_pillow_installed(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both orders, on an image for which they differ; the installed Pillow has one of them."""
    image = noise(9, 60)
    crop = centred((9, 60), (12, 19), 10)
    result = []
    for version in (12, 13):
        monkeypatch.setattr(resampling, "pillow_version", lambda version=version: version)
        assert resampling.vertical_first(crop.source, crop.resized) == (version == 13)
        result.append(resize.resize_crop(packed([image]), [crop], 10, options=options)[0].numpy())
    monkeypatch.undo()
    assert not np.array_equal(result[0], result[1])
    assert np.array_equal(result[resampling.pillow_version() >= 13], by_pillow(image, crop, 10, "bicubic"))


def test_images_that_do_not_match_the_crops_are_rejected() -> None:
    image = packed([noise(8, 8)])
    with pytest.raises(ValueError, match=r"packed must be \(192\), not \(189\)"):
        resize.resize_crop(image[3:], [Crop((8, 8), (12, 10), (2, 2))], 8)
    with pytest.raises(ValueError, match="packed must be uint8, not float32"):
        resize.resize_crop(image.float(), [Crop((8, 8), (12, 10), (2, 2))], 8)


def noise(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def packed(images: list[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([image.reshape(-1) for image in images]))


def centred(source: tuple[int, int], resized: tuple[int, int], size: int) -> Crop:
    return Crop(source, resized, ((resized[0] - size) // 2, (resized[1] - size) // 2))


def by_pillow(image: NDArray[np.uint8], crop: Crop, size: int, interpolation: str) -> NDArray[np.uint8]:
    whole = Image.fromarray(image).resize(crop.resized, Image.Resampling[interpolation.upper()])
    left, top = crop.corner
    return np.asarray(whole.crop((left, top, left + size, top + size)))

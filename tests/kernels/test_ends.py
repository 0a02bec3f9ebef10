"""`resize_crop` against Pillow, byte for byte, and `top_k`; as PyTorch and in Triton's interpreter."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.kernels import ends
from tessella.kernels.options import Options

TRITON, TORCH = Options(implementation="triton"), Options(implementation="torch")


SHAPES = [
    (91, 57, (51, 32), 28),
    (20, 33, (32, 52), 32),
    (40, 40, (40, 40), 24),
    (200, 31, (24, 24), 24),
    (3, 5, (16, 26), 14),
    (1, 1, (9, 9), 9),
    (50, 300, (40, 99), 30),
]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("width", "height", "resized", "size"), SHAPES)
def test_pillow_byte_for_byte(width: int, height: int, resized: tuple[int, int], size: int, interpolation: str) -> None:
    found, expected = resized_by_both(width, height, resized, size, interpolation, TORCH)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("width", "height", "resized", "size", "interpolation"),
    [
        (25, 19, (16, 12), 9, "bicubic"),
        (7, 9, (11, 14), 11, "bilinear"),
        (1, 3, (5, 15), 5, "bicubic"),
        (9, 40, (8, 14), 7, "bicubic"),
    ],
)
def test_the_kernel_byte_for_byte(
    width: int, height: int, resized: tuple[int, int], size: int, interpolation: str
) -> None:
    found, expected = resized_by_both(width, height, resized, size, interpolation, TRITON)
    assert np.array_equal(found, expected)


def resized_by_both(
    width: int, height: int, resized: tuple[int, int], size: int, interpolation: str, options: Options
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """By the operator, and by Pillow."""
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
    whole = Image.fromarray(pixels).resize(resized, Image.Resampling[interpolation.upper()])
    expected = np.asarray(whole.crop((left, top, left + size, top + size)))
    found = ends.resize_crop(torch.from_numpy(pixels), resized, (left, top), size, interpolation, options=options)
    return found.numpy(), expected


def test_a_crop_outside_the_image_is_refused() -> None:
    image = torch.zeros(8, 8, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="a crop of 8 from 3 does not lie within the resized height of 10"):
        ends.resize_crop(image, (12, 10), (2, 3), 8)
    with pytest.raises(ValueError, match="'lanczos' is not one of bilinear, bicubic"):
        ends.resize_crop(image, (12, 10), (2, 2), 8, "lanczos")


@pytest.mark.parametrize("classes", [1, 10, 1000])
def test_top_k_orders_equals_by_index(classes: int) -> None:
    logits = torch.randn(3, classes).mul(3).round()
    k = min(5, classes)
    scores, indices = ends.top_k(logits, k, options=TRITON)
    expected_scores, expected_indices = ends.top_k(logits, k, options=TORCH)
    assert indices.tolist() == expected_indices.tolist()
    torch.testing.assert_close(scores, expected_scores)
    with pytest.raises(ValueError, match="k \\(0\\) must be between 1 and the number of classes"):
        ends.top_k(logits, 0)

"""`resize_crop` against Pillow, byte for byte: as PyTorch and in Triton's interpreter."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.kernels import resampling, resize
from tessella.kernels.options import Options
from tessella.kernels.resize_plan import Crop, plan_resize

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
"""Width, height and (width, height) after the resize: portrait, landscape, larger, squashed, a pixel wide, as it is."""
SIZE = 24


@pytest.mark.parametrize("options", [TORCH, TRITON], ids=["torch", "triton"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_batch_of_all_sizes_is_pillows_byte_for_byte(interpolation: str, options: Options) -> None:
    images = [noise(width, height) for width, height, _ in SHAPES]
    crops = [centred((width, height), resized, SIZE) for width, height, resized in SHAPES]
    found = resize.resize_crop(packed(images), crops, SIZE, interpolation, options=options)
    for image, crop, square in zip(images, crops, found.numpy(), strict=True):
        assert np.array_equal(square, by_pillow(image, crop, SIZE, interpolation)), crop


@pytest.mark.parametrize("options", [TORCH, TRITON], ids=["torch", "triton"])
def test_the_order_of_the_passes_is_that_of_the_pillow_installed(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either order is run for an image on which they differ; Pillow's is one of them."""
    image = noise(9, 60)
    crop = centred((9, 60), (12, 19), 10)
    found = []
    for version in (12, 13):
        monkeypatch.setattr(resampling, "pillow_version", lambda version=version: version)
        assert resampling.vertical_first(crop.source, crop.resized) == (version == 13)
        found.append(resize.resize_crop(packed([image]), [crop], 10, options=options)[0].numpy())
    monkeypatch.undo()
    assert not np.array_equal(found[0], found[1])
    assert np.array_equal(found[resampling.pillow_version() >= 13], by_pillow(image, crop, 10, "bicubic"))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_an_image_of_its_own_size_stays_as_it_is(interpolation: str) -> None:
    """Its weights are exactly 0 and 1 whatever the size, so that it passes among others unchanged."""
    for side in (1, 2, 3, 24, 224, 384, 518):
        table = resampling.taps(side, side, 0, side, interpolation)
        positions = np.minimum(table.table[0] + np.arange(len(table.table) - 1)[:, None], side - 1)
        passed = np.zeros((side, side), np.int64)
        np.add.at(passed, (np.arange(side)[None], positions), table.table[1:])
        assert np.array_equal(passed, np.eye(side, dtype=np.int64) << resampling.PRECISION_BITS)


def test_taps_are_those_of_pillows_loop() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        source, target = (int(generator.integers(1, high)) for high in (generator.choice([30, 3000]), 300))
        first = int(generator.integers(0, target))
        count = int(generator.integers(1, min(target - first, 40) + 1))
        for interpolation in resampling.FILTERS:
            table = resampling.taps(source, target, first, count, interpolation)
            expected = [one_by_one(source, target, index, interpolation) for index in range(first, first + count)]
            assert table.table[0].tolist() == [start for start, _ in expected]
            for found, (_, weights) in zip(table.table[1:].T.tolist(), expected, strict=True):
                assert found == weights + [0] * (len(found) - len(weights))
            assert (table.first, table.stop) == (expected[0][0], expected[-1][0] + len(expected[-1][1]))


def one_by_one(source: int, target: int, index: int, interpolation: str) -> tuple[int, list[int]]:
    """Where a pixel's source pixels start, and their weights, as C computes them: a number at a time."""
    scale = source / target
    support = (2.0 if interpolation == "bicubic" else 1.0) * max(scale, 1.0)
    centre = (index + 0.5) * scale
    start, stop = max(0, int(centre - support + 0.5)), min(source, int(centre + support + 0.5))
    weights, total = [], 0.0
    for pixel in range(start, stop):
        x = abs((pixel - centre + 0.5) * (1 / max(scale, 1.0)))
        if interpolation == "bilinear":
            weight = 1 - x if x < 1 else 0.0
        elif x < 1:
            weight = ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1
        else:
            weight = (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2 else 0.0
        weights.append(weight)
        total += weight
    return start, [int(weight / total * (1 << 22) + (0.5 if weight >= 0 else -0.5)) for weight in weights]


def test_equal_tables_travel_once() -> None:
    one = plan_resize([centred((90, 60), (48, 32), 24)], 24, "bicubic")
    eight = plan_resize([centred((90, 60), (48, 32), 24)] * 8, 24, "bicubic")
    assert len(eight.metadata) - len(one.metadata) == 7 * (2 * 10 + sum(count for _, count in one.grids))


def test_what_cannot_be_cropped_is_refused() -> None:
    image = packed([noise(8, 8)])
    with pytest.raises(ValueError, match="a crop of 8 from 3 does not lie within the resized height of 10"):
        resize.resize_crop(image, [Crop((8, 8), (12, 10), (2, 3))], 8)
    with pytest.raises(ValueError, match="'lanczos' is not one of bilinear, bicubic"):
        resize.resize_crop(image, [Crop((8, 8), (12, 10), (2, 2))], 8, "lanczos")
    with pytest.raises(ValueError, match=r"packed must be \(192\), not \(189\)"):
        resize.resize_crop(image[3:], [Crop((8, 8), (12, 10), (2, 2))], 8)
    with pytest.raises(ValueError, match="at least one image"):
        resize.resize_crop(image, [], 8)
    with pytest.raises(ValueError, match="no more than 2147483647 fit"):
        plan_resize([Crop((30_000, 30_000), (10, 10), (0, 0))], 8, "bilinear")
    assert [name for name in ("nearest", "bicubic", "box", "bilinear") if resampling.supports_interpolation(name)] == [
        "bicubic",
        "bilinear",
    ]


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

"""Resize plans: metadata of images, tap tables and programs; crops outside their image."""

import numpy as np
import pytest

from tessella.kernels.resize_plan import BLOCK, Crop, PassFields, plan_resize

SQUARE = Crop((90, 60), (48, 32), (12, 4))


def test_equal_tables_are_stored_once() -> None:
    one, eight = plan_resize([SQUARE], 24, "bicubic"), plan_resize([SQUARE] * 8, 24, "bicubic")
    programs = sum(count for _, count in one.grids)
    assert len(eight.metadata) - len(one.metadata) == 7 * (2 * len(PassFields._fields) + programs)


def test_every_program_finds_its_image_and_its_block() -> None:
    crops = [SQUARE, Crop((24, 24), (24, 24), (0, 0)), Crop((300, 50), (99, 40), (30, 8))]
    plan = plan_resize(crops, 24, "bicubic")
    width = len(PassFields._fields)
    for index, (offset, count) in enumerate(plan.grids):
        starts = plan.metadata[offset : offset + count].tolist()
        for image in range(len(crops)):
            start = (index * len(crops) + image) * width
            fields = PassFields(*plan.metadata[start : start + width].tolist())
            assert starts.count(start) == -(-fields.total // BLOCK)
            assert starts.index(start) == fields.first_program


def test_sizes_of_buffers() -> None:
    plan = plan_resize([SQUARE, Crop((24, 24), (24, 24), (0, 0))], 24, "bicubic")
    assert plan.bytes == (90 * 60 + 24 * 24) * 3
    totals = plan.metadata[: 2 * len(PassFields._fields)].reshape(2, -1)[:, PassFields._fields.index("total")]
    assert plan.scratch == np.sum(totals)


def test_impossible_crops_are_rejected() -> None:
    with pytest.raises(ValueError, match="a crop of 8 from 3 does not lie within the resized height of 10"):
        plan_resize([Crop((8, 8), (12, 10), (2, 3))], 8, "bicubic")
    with pytest.raises(ValueError, match="a crop of 8 from -1 does not lie within the resized width of 12"):
        plan_resize([Crop((8, 8), (12, 10), (-1, 2))], 8, "bicubic")
    with pytest.raises(ValueError, match="'lanczos' is not one of bilinear, bicubic"):
        plan_resize([Crop((8, 8), (12, 10), (2, 2))], 8, "lanczos")
    with pytest.raises(ValueError, match="at least one image"):
        plan_resize([], 8, "bicubic")
    with pytest.raises(ValueError, match="no more than 2147483647 fit"):
        plan_resize([Crop((30_000, 30_000), (10, 10), (0, 0))], 8, "bilinear")

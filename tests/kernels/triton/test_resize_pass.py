"""`resize_pass` in Triton's interpreter, one pass at a time, against the reference."""

import numpy as np
import pytest
import torch

from tessella.kernels import reference, resampling
from tessella.kernels.resize_plan import Crop, plan_resize
from tessella.kernels.triton.resize_pass import resize_pass


@pytest.mark.parametrize("version", [12, 13], ids=["horizontal first", "vertical first"])
def test_the_first_pass_over_two_images(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of both images find their own metadata, taps and output."""
    monkeypatch.setattr(resampling, "pillow_version", lambda: version)
    crops = [Crop((5, 40), (6, 12), (0, 1)), Crop((9, 30), (9, 10), (1, 0))]
    images = [
        np.random.default_rng(index).integers(0, 256, (h, w, 3), np.uint8)
        for index, (w, h) in enumerate(crop.source for crop in crops)
    ]
    plan = plan_resize(crops, 6, "bilinear")
    packed = torch.from_numpy(np.concatenate([image.reshape(-1) for image in images]))
    scratch = torch.zeros(plan.scratch, dtype=torch.uint8)
    resize_pass(packed, torch.from_numpy(plan.metadata), *plan.grids[0], plan.size, scratch)
    axis = 1 if version == 13 else 0  # of (width, height)
    expected = []
    for crop, image in zip(crops, images, strict=True):
        line = resampling.taps(crop.source[axis], crop.resized[axis], crop.corner[axis], 6, "bilinear")
        other = resampling.taps(crop.source[1 - axis], crop.resized[1 - axis], crop.corner[1 - axis], 6, "bilinear")
        kept = torch.from_numpy(image).movedim(axis, 0)[other.first : other.stop].movedim(0, axis)
        expected.append(reference.resize_pass(kept, torch.tensor(line.table), 1 - axis).reshape(-1))
    assert torch.equal(scratch, torch.cat(expected))

"""Synthetic digits: all classes, both polarities, ink inside the canvas."""

import numpy as np
import pytest

from tessella.models.zoo.training.synthetic import pen_digits


@pytest.mark.parametrize("photographed", [False, True])
def test_every_digit_is_drawn_reproducibly(photographed: bool) -> None:
    first, second = (pen_digits(2, photographed=photographed) for _ in range(2))
    assert set(first.labels.tolist()) == set(range(10))
    assert len(first.images) == len(first.labels) == len(first.styles)
    assert {image.size for image in first.images} == {(280, 280)}
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first.images, second.images, strict=True))


def test_canvases_are_white_or_black_and_hold_ink_inside() -> None:
    corners, shares = [], []
    for image in pen_digits(2).images:
        canvas = np.asarray(image)[..., 0].astype(float)
        corners.append(canvas[0, 0])
        shares.append((abs(canvas - canvas[0, 0]) > 127).mean())
        assert (canvas[[0, -1]] == canvas[0, 0]).all()
    assert set(corners) == {0.0, 255.0}
    assert min(shares) > 0.002
    assert max(shares) < 0.35

"""Input images: batches of preprocessed images, and the size limits of a resize on the device."""

import numpy as np
import pytest

from tessella.models.preprocessing.images import (
    MAX_DEVICE_RESIZE_SIDE,
    InputImage,
    all_preprocessed,
    preprocessed_pixels,
    resizable_on_device,
    stack_images,
)


def test_size_limits_of_a_resize_on_the_device() -> None:
    assert resizable_on_device(12_000, 6_900)
    assert resizable_on_device(1, MAX_DEVICE_RESIZE_SIDE)
    assert not resizable_on_device(12_000, 7_000)
    assert not resizable_on_device(1, MAX_DEVICE_RESIZE_SIDE + 1)


def test_a_preprocessed_batch_has_one_shape() -> None:
    images = [InputImage(np.full((2, 2, 3), index, np.uint8)) for index in range(3)]
    assert all_preprocessed(images)
    assert np.array_equal(
        np.stack(preprocessed_pixels(images)), np.stack(preprocessed_pixels(np.stack(preprocessed_pixels(images))))
    )
    with pytest.raises(ValueError, match=r"one shape, got 2: \(1, 1, 3\), \(2, 2, 3\)"):
        preprocessed_pixels([*images, InputImage(np.zeros((1, 1, 3), np.uint8))])


def test_only_preprocessed_images_are_stacked() -> None:
    images = [InputImage(np.full((2, 2, 3), index, np.uint8)) for index in range(3)]
    batch = stack_images(images)
    assert batch[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert stack_images(batch) is batch
    raw = InputImage(np.zeros((2, 2, 3), np.uint8), preprocessed=False)
    assert not all_preprocessed([*images, raw])
    with pytest.raises(ValueError, match="takes preprocessed images only"):
        stack_images([*images, raw])

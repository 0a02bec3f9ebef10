"""Dataset: a fixed, disjoint, stratified split, and PNG files of digits."""

import io

import numpy as np
from PIL import Image

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.zoo.training.dataset import load_split, picture, png
from tessella.models.zoo.training.evaluate import pixels


def test_the_split_is_disjoint_and_covers_everything() -> None:
    split = load_split()
    parts = [split.train.indices, split.validation.indices, split.test.indices]
    assert sorted(np.concatenate(parts).tolist()) == list(range(1797))
    assert [len(part) for part in parts] == [1077, 360, 360]


def test_every_part_holds_every_digit_in_proportion() -> None:
    split = load_split()
    for part in (split.train, split.validation, split.test):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.max() - counts.min() <= 0.05 * len(part)


def test_the_split_never_changes() -> None:
    """The records beside the weights refer to this test set."""
    assert load_split().test.digest() == "04dc4740cd80fb82d3e9dcb5711781a467afca0220d8ec4c2586fb60d80390f6"


def test_a_png_holds_the_digit() -> None:
    image = load_split().test.images[0]
    with Image.open(io.BytesIO(png(image))) as opened:
        assert (opened.mode, opened.size) == ("L", (8, 8))
        assert np.array_equal(np.asarray(opened), image)
    assert image.max() == 255


def test_pixels_are_those_that_the_preprocessing_makes() -> None:
    images, preprocessing = load_split().test.images[:3], Preprocessing(size=24, resize=24)
    batch = pixels(map(picture, images), preprocessing)
    assert batch.shape == (3, 24, 24, 3)
    assert np.array_equal(batch[2].numpy(), preprocessing(picture(images[2]).convert("RGB")))

"""Bare loop: predictions, batches of the images that are decoded, and a load that ends."""

import io

import numpy as np
import pytest
from PIL import Image

from tessella.benchmarks.photos import Photo
from tessella.benchmarks.service.bare_loop import BareLoop, Logits
from tessella.models.preprocessing.images import Pixels
from tessella.models.preprocessing.preprocess import Preprocessing


def photo(level: int) -> Photo:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (level, level, level)).save(buffer, "JPEG", quality=100)
    return Photo(str(level), buffer.getvalue())


def loop(batches: list[int], max_batch_size: int = 4) -> BareLoop:
    def logits(pixels: Pixels) -> Logits:
        """Class 1 for bright images, 0 for dark ones."""
        batches.append(len(pixels))
        bright = pixels.mean((1, 2, 3)) > 127
        return np.stack([np.where(bright, 0.0, 1.0), np.where(bright, 1.0, 0.0)], 1).astype(np.float32)

    return BareLoop(Preprocessing(size=8, resize=8), logits, threads=2, max_batch_size=max_batch_size)


def test_a_prediction_is_the_top_class_and_its_softmax() -> None:
    bare = loop([])
    for level, expected in ((250, 1), (5, 0)):
        index, score = bare.classify(photo(level))
        assert index == expected
        assert score == pytest.approx(np.e / (np.e + 1))


def test_every_image_is_accepted_once_in_batches_up_to_the_maximum() -> None:
    batches: list[int] = []
    load = loop(batches).run([photo(5), photo(250)], in_flight=6, seconds=0.05)
    assert len(load.of("accepted")) == len(load.samples) == sum(batches) >= 6
    assert max(batches) <= 4
    assert load.seconds >= 0.05
    assert all(sample.seconds > 0 for sample in load.samples)

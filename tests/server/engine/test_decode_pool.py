"""Decode pool: preprocessing on the host or by the model, size limits, and overlays."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.engine.decode_pool import DecodedImage, DecodePool
from tessella.server.engine.results import Explanation, overlay
from tessella.server.engine.tasks import Task
from tessella.server.errors import ImageError, RequestTooLarge

from ...support import pictures

T = TypeVar("T")
PREPROCESSING = Preprocessing(size=8, resize=16)
MAX_PIXELS = 60 * 40
IMAGE = pictures.gradient().resize((60, 40))
PNG = pictures.encode(IMAGE)


def run(work: Callable[[DecodePool], Coroutine[Any, Any, T]], **options: Any) -> T:
    async def main() -> T:
        pool = DecodePool(PREPROCESSING, "test", 1, MAX_PIXELS, **options)
        try:
            return await work(pool)
        finally:
            pool.close()

    return asyncio.run(main())


def decode(image: bytes | np.ndarray[Any, Any], *, preprocess: bool = False, **options: Any) -> DecodedImage:
    return run(lambda pool: pool.decode(image, preprocess=preprocess), **options)


def test_image_is_preprocessed_and_timed() -> None:
    result = decode(PNG)
    assert np.array_equal(result.image.pixels, PREPROCESSING(IMAGE))
    assert result.image.preprocessed
    assert result.decode_seconds > 0
    assert result.input_seconds > 0


@pytest.mark.parametrize(
    ("limit", "preprocess", "shape"),
    [(MAX_PIXELS, False, (40, 60, 3)), (MAX_PIXELS - 1, False, (8, 8, 3)), (MAX_PIXELS, True, (8, 8, 3))],
)
def test_model_resizes_images_up_to_the_limit(limit: int, preprocess: bool, shape: tuple[int, ...]) -> None:
    result = decode(PNG, preprocess=preprocess, max_device_resize_pixels=limit)
    assert result.image.pixels.shape == shape
    assert result.image.preprocessed == (shape == (8, 8, 3))


def test_pixels_pass_unchanged() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    assert decode(pixels).image.pixels is pixels


def test_undecodable_and_large_images_are_service_errors() -> None:
    with pytest.raises(ImageError):
        decode(b"no image")
    with pytest.raises(RequestTooLarge):
        decode(pictures.encode(Image.new("RGB", (61, 40))))


def test_overlay_is_rendered_in_the_pool() -> None:
    pixels, values = np.zeros((8, 8, 3), np.uint8), np.ones((2, 2, 2), np.float32)

    async def render(pool: DecodePool) -> Explanation:
        return await pool.render(Task.ROLLOUT, pixels, values)

    explanation = run(render)
    assert (explanation.task, explanation.overlay) == (Task.ROLLOUT, overlay(pixels, values[-1]))

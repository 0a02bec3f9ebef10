"""Decode pool: threads that decode and preprocess images, and render overlays. Decoding releases the GIL."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...models.cpu import usable_cores
from ...models.errors import ImageDecodeError
from ...models.preprocessing.decode import decode, decode_pixels
from ...models.preprocessing.images import InputImage, Pixels, resizable_on_device
from ...models.preprocessing.preprocess import Preprocessing
from ..errors import RequestTooLarge, image_error
from .results import Explanation
from .tasks import Task


class DecodedImage(NamedTuple):
    """Input image of the model, with the seconds spent on decoding, and on resizing and cropping on the host."""

    image: InputImage
    decode_seconds: float = 0.0
    input_seconds: float = 0.0


class DecodePool:
    """Decoding threads of one model.

    Args:
        preprocessing: the model's own.
        name: of the model, for the threads' names.
        threads: number of threads; default: one per core this process may use.
        max_pixels: maximum size of an image, in pixels.
        scaled_decode: decode large JPEGs at a fraction of their size: faster, changes pixel values slightly.
        max_device_resize_pixels: maximum size of an image that the model resizes and crops itself; 0: none.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        name: str,
        threads: int | None,
        max_pixels: int,
        *,
        scaled_decode: bool = False,
        max_device_resize_pixels: int = 0,
    ) -> None:
        self._preprocessing = preprocessing
        self._max_pixels = max_pixels
        self._min_side = preprocessing.resize if scaled_decode else None
        self._max_device_resize_pixels = max_device_resize_pixels
        self._threads = ThreadPoolExecutor(threads or usable_cores(), f"decode-{name}")

    async def decode(self, image: bytes | Pixels, *, preprocess: bool = False) -> DecodedImage:
        """Decode an encoded image; pixels, (H, W, 3), pass through as already preprocessed.

        Args:
            preprocess: resize and crop on the host, whatever the size.

        Raises:
            ImageError, RequestTooLarge: the image cannot be decoded, or has too many pixels.
        """
        if not isinstance(image, bytes):
            return DecodedImage(InputImage(image))
        limit = 0 if preprocess else self._max_device_resize_pixels
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, image, limit)

    async def render(self, task: Task, pixels: Pixels, values: NDArray[np.float32]) -> Explanation:
        """Render an explanation of a preprocessed image from the result of ATTENTION or ROLLOUT."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, Explanation.render, task, pixels, values)

    def close(self) -> None:
        """Finish the submitted images and end the threads. Blocks until then."""
        self._threads.shutdown()

    def _decode(self, image: bytes, max_device_resize_pixels: int) -> DecodedImage:
        started = time.perf_counter()
        decoder = decode_pixels if max_device_resize_pixels else decode
        try:
            upright = decoder(image, max_pixels=self._max_pixels, min_side=self._min_side)
        except ImageDecodeError as error:
            raise image_error(error) from error
        decoded = time.perf_counter()
        try:
            result = self._preprocess(upright, max_device_resize_pixels)
        except ValueError as error:  # too large after the resize
            raise RequestTooLarge(str(error)) from error
        return DecodedImage(result, decoded - started, time.perf_counter() - decoded)

    def _preprocess(self, image: Pixels | Image.Image, max_device_resize_pixels: int) -> InputImage:
        if not isinstance(image, np.ndarray):
            return InputImage(self._preprocessing(image))
        height, width, _ = image.shape
        if width * height > max_device_resize_pixels or not resizable_on_device(width, height):
            return InputImage(self._preprocessing(Image.fromarray(image)))
        self._preprocessing.placement(width, height)  # raises if it is too large after the resize
        return InputImage(image, preprocessed=False)

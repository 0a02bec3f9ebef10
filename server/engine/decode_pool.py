"""Threads that make of encoded images what the model takes, and draw: decoding releases the interpreter's lock."""

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
from ...models.preprocessing.images import InputImage, resizable_on_device
from ...models.preprocessing.preprocess import Preprocessing
from ..errors import RequestTooLarge, image_error
from .results import Explanation
from .tasks import Task


class Decoded(NamedTuple):
    """An image as the model takes it. Seconds of decoding, and of resizing and cropping here."""

    frame: InputImage
    decode_seconds: float = 0.0
    input_seconds: float = 0.0


class DecodePool:
    """The decoding threads of one model.

    Args:
        recipe: the model's own preprocessing.
        threads: default: one per core this process may use.
        max_pixels: largest image, in pixels, that is decoded.
        scaled: large JPEGs are decoded at a fraction of their size, which is quicker and changes pixels a little.
        left: largest image, in pixels, that is left to the model to resize and crop; 0 for a model that does not.
    """

    def __init__(
        self,
        recipe: Preprocessing,
        name: str,
        threads: int | None,
        max_pixels: int,
        *,
        scaled: bool = False,
        left: int = 0,
    ) -> None:
        self._recipe = recipe
        self._max_pixels = max_pixels
        self._enough = recipe.resize if scaled else None
        self._left = left
        self._threads = ThreadPoolExecutor(threads or usable_cores(), f"decode-{name}")

    async def frame(self, image: bytes | NDArray[np.uint8], *, ready: bool = False) -> Decoded:
        """The image and what it took; pixels, (H, W, 3), are what the network sees already.

        Args:
            ready: leave nothing to the model.

        Raises:
            ImageError, RequestTooLarge: it cannot be decoded, or has too many pixels.
        """
        if not isinstance(image, bytes):
            return Decoded(InputImage(image))
        left = 0 if ready else self._left
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, image, left)

    async def draw(self, task: Task, pixels: NDArray[np.uint8], values: NDArray[np.float32]) -> Explanation:
        """What a task gave for an image, with a picture of it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, Explanation.of, task, pixels, values)

    def close(self) -> None:
        """Ends the threads once they have done what they have."""
        self._threads.shutdown()

    def _decode(self, image: bytes, left: int) -> Decoded:
        started = time.perf_counter()
        try:
            upright = (decode_pixels if left else decode)(image, max_pixels=self._max_pixels, min_side=self._enough)
        except ImageDecodeError as error:
            raise image_error(error) from error
        decoded = time.perf_counter()
        try:
            frame = self._leave(upright, left) if isinstance(upright, np.ndarray) else InputImage(self._recipe(upright))
        except ValueError as error:  # too large after the resize
            raise RequestTooLarge(str(error)) from error
        return Decoded(frame, decoded - started, time.perf_counter() - decoded)

    def _leave(self, pixels: NDArray[np.uint8], left: int) -> InputImage:
        height, width, _ = pixels.shape
        if width * height > left or not resizable_on_device(width, height):
            return InputImage(self._recipe(Image.fromarray(pixels)))
        self._recipe.placement(width, height)
        return InputImage(pixels, preprocessed=False)

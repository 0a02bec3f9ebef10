"""Threads that make of encoded images what the network sees, and draw: decoding releases the interpreter's lock."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..models.cpu import usable_cores
from ..models.preprocess import Preprocessing
from .errors import RequestTooLarge
from .explanations import Explanation
from .images import decode
from .tasks import Task
from .worker import Pixels


class Decoded(NamedTuple):
    """An image as the network sees it. Seconds of decoding, and of resizing and cropping."""

    pixels: Pixels
    decode_seconds: float = 0.0
    input_seconds: float = 0.0


class Decoders:
    """The decoding threads of one model.

    Args:
        recipe: the model's own preprocessing.
        threads: default: one per core this process may use.
        max_pixels: largest image, in pixels, that is decoded.
        scaled: large JPEGs are decoded at a fraction of their size, which is quicker and changes pixels a little.
    """

    def __init__(
        self, recipe: Preprocessing, name: str, threads: int | None, max_pixels: int, *, scaled: bool = False
    ) -> None:
        self._recipe = recipe
        self._max_pixels = max_pixels
        self._enough = recipe.resize if scaled else None
        self._threads = ThreadPoolExecutor(threads or usable_cores(), f"decode-{name}")

    async def pixels(self, image: bytes | Pixels) -> Decoded:
        """The pixels, (H, W, 3), and what they took; those that are pixels already stay as they are.

        Raises:
            ImageError, RequestTooLarge: as `decode`.
        """
        if not isinstance(image, bytes):
            return Decoded(image)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, image)

    async def draw(self, task: Task, pixels: Pixels, values: NDArray[np.float32]) -> Explanation:
        """What a task gave for an image, with a picture of it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, Explanation.of, task, pixels, values)

    def close(self) -> None:
        """Ends the threads once they have done what they have."""
        self._threads.shutdown()

    def _decode(self, image: bytes) -> Decoded:
        started = time.perf_counter()
        upright = decode(image, max_pixels=self._max_pixels, enough=self._enough)
        decoded = time.perf_counter()
        try:
            pixels = self._recipe(upright)
        except ValueError as error:  # too large after the resize
            raise RequestTooLarge(str(error)) from error
        return Decoded(pixels, decoded - started, time.perf_counter() - decoded)

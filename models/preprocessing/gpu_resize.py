"""Resize and crop of image batches on the network's device: Pillow's bytes, two kernel launches for any batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.options import DEFAULT, Options
from ...kernels.resampling import FILTERS, supports_interpolation
from ...kernels.resize import run_resize_plan
from ...kernels.resize_plan import Crop, ResizePlan, plan_resize
from .images import MAX_DEVICE_RESIZE_BYTES, InputImage
from .preprocess import Preprocessing

MAX_PACKED_BYTES = MAX_DEVICE_RESIZE_BYTES
"""Limit of one packed batch, for its pixels and for the intermediate between the two passes; larger batches are split.
A single image is never split, whatever its size."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """Images that reach the device in one copy: the header describes how they are resized, the pixels follow."""

    images: Sequence[InputImage]
    plan: ResizePlan

    @property
    def header_bytes(self) -> int:
        """Bytes before the pixels, a multiple of 16."""
        return -(-self.plan.metadata.nbytes // 16) * 16

    @property
    def bytes(self) -> int:
        """Bytes of header and pixels."""
        return self.header_bytes + self.plan.bytes

    def write_to(self, buffer: NDArray[np.uint8]) -> None:
        """Copy header and pixels into the first `bytes` bytes of a buffer; each image is copied once."""
        words, end = self.plan.metadata, self.header_bytes
        buffer[: words.nbytes].view(np.int32)[:] = words
        for image in self.images:
            start, end = end, end + image.pixels.size
            np.copyto(buffer[start:end].reshape(image.pixels.shape), image.pixels)


class DeviceResize:
    """Preprocessing (resize and centre crop) of batches on `device`. Not thread-safe.

    The constructor compiles the kernels: one specialisation each, for all images and batch sizes.

    Raises:
        ValueError: the device has no filter for the interpolation (`resampling.supports_interpolation`).
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device, options: Options = DEFAULT) -> None:
        if not supports_interpolation(preprocessing.interpolation):
            raise ValueError(
                f"interpolation {preprocessing.interpolation!r} is not available on the device, "
                f"which has {' and '.join(FILTERS)}; resize on the host"
            )
        self._preprocessing = preprocessing
        self._device = device
        self._options = options
        self._scratch = torch.empty(0, dtype=torch.uint8, device=device)
        self._compile()

    def __call__(self, images: Sequence[InputImage]) -> Tensor:
        """Images -> uint8 (B, size, size, 3) on the device.

        Raises:
            ValueError: as `pack`.
        """
        return torch.cat([self._resize(packed) for packed in self.pack(images)])

    def pack(self, images: Sequence[InputImage]) -> list[PackedBatch]:
        """Packed batches of bounded size, in the order of the images.

        Raises:
            ValueError: no image; or one that is not uint8 (H, W, 3), is too large after the resize
                (`Preprocessing.placement`), or is preprocessed for another input size.
        """
        size, interpolation = self._preprocessing.size, self._preprocessing.interpolation
        crops = [self._crop(image) for image in images]
        start, batches = 0, []
        for stop in _split_points([_cost(crop, size) for crop in crops]):
            batches.append(PackedBatch(images[start:stop], plan_resize(crops[start:stop], size, interpolation)))
            start = stop
        return batches

    @torch.inference_mode()
    def unpack(self, packed: PackedBatch, received: Tensor) -> Tensor:
        """Resize a packed batch whose bytes, `received`, are on the device, on the current stream.

        Returns:
            uint8 (B, size, size, 3).
        """
        batch_plan, size = packed.plan, packed.plan.size
        if len(self._scratch) < batch_plan.scratch:
            self._scratch = torch.empty(batch_plan.scratch, dtype=torch.uint8, device=self._device)
        out = torch.empty(len(packed.images), size, size, 3, dtype=torch.uint8, device=self._device)
        words = received[: batch_plan.metadata.nbytes].view(torch.int32)
        pixels = received[packed.header_bytes : packed.bytes]
        run_resize_plan(pixels, batch_plan, words, self._scratch, out, options=self._options)
        return out

    def _compile(self) -> None:
        pixel = InputImage(np.zeros((1, 1, 3), np.uint8))
        self._resize(PackedBatch([pixel], plan_resize([Crop((1, 1), (1, 1), (0, 0))], 1, "bicubic")))

    def _resize(self, packed: PackedBatch) -> Tensor:
        buffer = torch.empty(packed.bytes, dtype=torch.uint8)
        packed.write_to(buffer.numpy())
        return self.unpack(packed, buffer.to(self._device))

    def _crop(self, image: InputImage) -> Crop:
        shape, size = image.pixels.shape, self._preprocessing.size
        if image.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"expected uint8 pixels (H, W, 3), got {image.pixels.dtype} of {_times(shape)}")
        if image.preprocessed:
            if shape[:2] != (size, size):
                raise ValueError(f"expected pixels ({size}, {size}, 3) of a preprocessed image, got {_times(shape)}")
            return Crop((size, size), (size, size), (0, 0))
        height, width = shape[:2]
        if not min(width, height):
            raise ValueError(f"an image of {width}×{height} pixels cannot be resized; both sides must be positive")
        return Crop((width, height), *self._preprocessing.placement(width, height))


def _cost(crop: Crop, size: int) -> int:
    """Upper bound, in bytes, of the image and of its intermediate between the two passes."""
    return crop.source[1] * max(crop.source[0], size) * 3


def _split_points(costs: Sequence[int]) -> Iterator[int]:
    """End indices of parts of at most MAX_PACKED_BYTES; an image that exceeds the limit is a part of its own."""
    total = 0
    for index, cost in enumerate(costs):
        if total and total + cost > MAX_PACKED_BYTES:
            yield index
            total = 0
        total += cost
    yield len(costs)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(length) for length in shape)

"""Frames resized and cropped on the device that the network runs on: Pillow's bytes, two launches for any batch."""

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
from .images import LARGEST_BYTES, Frame
from .preprocess import Preprocessing

PART_BYTES = LARGEST_BYTES
"""Of frames that arrive at once, and of what lies between the passes over them: a batch of more arrives in parts.
A single frame is a part whatever it takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """Frames that reach the device in one copy: how they are resized, then their pixels."""

    frames: Sequence[Frame]
    plan: ResizePlan

    @property
    def head(self) -> int:
        """Bytes before the pixels."""
        return -(-self.plan.metadata.nbytes // 16) * 16

    @property
    def bytes(self) -> int:
        return self.head + self.plan.bytes

    def fill(self, buffer: NDArray[np.uint8]) -> None:
        """Copies all of it, each frame once, into the first `bytes` bytes."""
        words, end = self.plan.metadata, self.head
        buffer[: words.nbytes].view(np.int32)[:] = words
        for frame in self.frames:
            start, end = end, end + frame.pixels.size
            np.copyto(buffer[start:end].reshape(frame.pixels.shape), frame.pixels)


class DeviceResize:
    """What `preprocessing` makes of an image, for batches on `device`. One thread at a time.

    Its kernels are compiled when it is made: one specialisation each, whatever the images and the batch.

    Raises:
        ValueError: the recipe's interpolation is not one that the device has (`resampling.supports_interpolation`).
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device, options: Options = DEFAULT) -> None:
        if not supports_interpolation(preprocessing.interpolation):
            raise ValueError(
                f"{preprocessing.interpolation!r} images are resized where they are decoded; "
                f"on a device there are {' and '.join(FILTERS)}"
            )
        self._recipe = preprocessing
        self._device = device
        self._options = options
        self._scratch = torch.empty(0, dtype=torch.uint8, device=device)
        self._alone(
            Parcel([Frame(np.zeros((1, 1, 3), np.uint8))], plan_resize([Crop((1, 1), (1, 1), (0, 0))], 1, "bicubic"))
        )

    def __call__(self, frames: Sequence[Frame]) -> Tensor:
        """-> uint8 (B, size, size, 3) on the device.

        Raises:
            ValueError: as `parcels`.
        """
        return torch.cat([self._alone(parcel) for parcel in self.parcels(frames)])

    def parcels(self, frames: Sequence[Frame]) -> list[Parcel]:
        """Frames in parts of bounded size, in their order.

        Raises:
            ValueError: no frame; one that is not uint8 (H, W, 3), is too large after the resize
                (`Preprocessing.placement`), or is ready in another size than the network's.
        """
        crops = [self._crop(frame) for frame in frames]
        size, interpolation, start, parcels = self._recipe.size, self._recipe.interpolation, 0, []
        for stop in _ends([_cost(crop, size) for crop in crops]):
            parcels.append(Parcel(frames[start:stop], plan_resize(crops[start:stop], size, interpolation)))
            start = stop
        return parcels

    @torch.inference_mode()
    def unpack(self, parcel: Parcel, received: Tensor) -> Tensor:
        """A parcel that is on the device, `received`, -> uint8 (B, size, size, 3), on the current stream."""
        made, size = parcel.plan, parcel.plan.size
        if len(self._scratch) < made.scratch:
            self._scratch = torch.empty(made.scratch, dtype=torch.uint8, device=self._device)
        out = torch.empty(len(parcel.frames), size, size, 3, dtype=torch.uint8, device=self._device)
        words = received[: made.metadata.nbytes].view(torch.int32)
        pixels = received[parcel.head : parcel.bytes]
        run_resize_plan(pixels, made, words, self._scratch, out, options=self._options)
        return out

    def _alone(self, parcel: Parcel) -> Tensor:
        buffer = torch.empty(parcel.bytes, dtype=torch.uint8)
        parcel.fill(buffer.numpy())
        return self.unpack(parcel, buffer.to(self._device))

    def _crop(self, frame: Frame) -> Crop:
        shape, size = frame.pixels.shape, self._recipe.size
        if frame.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"expected uint8 pixels (H, W, 3), got {frame.pixels.dtype} of {_times(shape)}")
        if frame.ready:
            if shape[:2] != (size, size):
                raise ValueError(f"expected pixels ({size}, {size}, 3) of a frame that is ready, got {_times(shape)}")
            return Crop((size, size), (size, size), (0, 0))
        height, width = shape[:2]
        if not min(width, height):
            raise ValueError(f"a frame of {width}×{height} pixels has nothing to be resized")
        return Crop((width, height), *self._recipe.placement(width, height))


def _cost(crop: Crop, size: int) -> int:
    """Bytes that neither the image nor what lies between the passes exceeds."""
    return crop.source[1] * max(crop.source[0], size) * 3


def _ends(costs: Sequence[int]) -> Iterator[int]:
    """Where parts of at most PART_BYTES end; what costs more is alone."""
    total = 0
    for index, cost in enumerate(costs):
        if total and total + cost > PART_BYTES:
            yield index
            total = 0
        total += cost
    yield len(costs)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(length) for length in shape)

"""Batches on their way to a GPU and back while it computes others: pinned buffers and a stream for each direction.

Written to PyTorch's documentation and not yet run on a GPU: unverified and unmeasured until someone has.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.tuning.heuristics import next_power_of_two
from ..preprocessing.gpu_resize import DeviceResize
from ..preprocessing.images import Frame, Frames, all_ready, ready_pixels


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One batch under way. `result` lives on the GPU until it has been copied to `landing`."""

    result: Tensor
    landing: Tensor
    landed: torch.cuda.Event


class Staging:
    """Runs passes on a GPU, at most `depth` between `start` and `finish`. One thread, in order.

    Args:
        resize: for frames that are not ready; without it a batch of such is refused.

    Each of `depth` buffers on either side grows to what a batch takes; where frames are resized, to 256 MiB at most
    unless a single one takes more: a larger batch arrives in parts.
    """

    depth = 2

    def __init__(self, device: torch.device, resize: DeviceResize | None = None) -> None:
        self._device = device
        self._resize = resize
        self._arriving, self._leaving = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._slots = cycle(range(self.depth))
        self._sent: dict[int, Tensor] = {}
        self._received: dict[int, Tensor] = {}
        self._landings: dict[int, Tensor] = {}

    @torch.inference_mode()
    def start(self, run: Callable[[Tensor], Tensor], frames: Frames) -> Passage:
        """Begins `run` over a batch, which it gets as uint8 (B, H, W, 3) on the GPU, and returns at once.

        A buffer is used again by the batch after the next, whose start comes after this one's finish.

        Raises:
            ValueError: frames that are not ready and cannot be resized here, or as `DeviceResize.parcels`.
        """
        slot, computing = next(self._slots), torch.cuda.current_stream(self._device)
        result = run(self._gathered(slot, frames)).float()
        self._leaving.wait_stream(computing)
        landing = self._landing(slot, result.shape)
        with torch.cuda.stream(self._leaving):
            landing.copy_(result, non_blocking=True)
            landed = torch.cuda.Event()
            landed.record(self._leaving)
        return Passage(result, landing, landed)

    def finish(self, passage: Passage) -> NDArray[np.float32]:
        """Waits for the result of the oldest start that has not been finished."""
        passage.landed.synchronize()
        result: NDArray[np.float32] = passage.landing.numpy().copy()
        return result

    def _gathered(self, slot: int, frames: Frames) -> Tensor:
        if not (isinstance(frames, np.ndarray) or all_ready(frames)):
            return self._resized(slot, frames)
        images = ready_pixels(frames)
        shape = (len(images), *images[0].shape)

        def fill(buffer: NDArray[np.uint8]) -> None:
            for place, image in zip(buffer.reshape(shape), images, strict=True):
                np.copyto(place, image)

        return self._send(slot, math.prod(shape), fill).view(shape)

    def _resized(self, slot: int, frames: Sequence[Frame]) -> Tensor:
        """Parts of a batch share the slot's buffers, so each waits for the one before."""
        if self._resize is None:
            raise ValueError("frames that are not ready are resized by the Triton backend alone")
        parts: list[Tensor] = []
        for parcel in self._resize.parcels(frames):
            if parts:
                self._arriving.synchronize()
                self._arriving.wait_stream(torch.cuda.current_stream(self._device))
            parts.append(self._resize.unpack(parcel, self._send(slot, parcel.bytes, parcel.fill)))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _send(self, slot: int, count: int, fill: Callable[[NDArray[np.uint8]], None]) -> Tensor:
        """uint8 (count,) on the GPU, as `fill` writes it; the computing stream waits for it."""
        computing = torch.cuda.current_stream(self._device)
        if slot not in self._sent or len(self._sent[slot]) < count:
            room = next_power_of_two(count)
            self._sent[slot] = torch.empty(room, dtype=torch.uint8, pin_memory=True)
            self._received[slot] = torch.empty(room, dtype=torch.uint8, device=self._device)
            self._arriving.wait_stream(computing)  # which may still use that memory
        sent, received = self._sent[slot][:count], self._received[slot][:count]
        fill(sent.numpy())
        with torch.cuda.stream(self._arriving):
            received.copy_(sent, non_blocking=True)
        computing.wait_stream(self._arriving)
        return received

    def _landing(self, slot: int, shape: tuple[int, ...]) -> Tensor:
        """(B, …) of pinned memory, of a buffer that only grows."""
        kept = self._landings.get(slot)
        if kept is None or kept.shape[1:] != shape[1:] or len(kept) < shape[0]:
            kept = self._landings[slot] = torch.empty(shape, dtype=torch.float32, pin_memory=True)
        return kept[: shape[0]]

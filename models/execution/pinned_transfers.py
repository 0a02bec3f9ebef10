"""Pinned host-device transfers that overlap with computation: a stream and two buffers for each direction.

Written to PyTorch's documentation and not yet run on a GPU: unverified and unmeasured.
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
from ..preprocessing.images import ImageBatch, InputImage, all_preprocessed, preprocessed_pixels


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Result of one batch on its way to the host. `result` must stay alive until it is copied to `host_buffer`."""

    result: Tensor
    host_buffer: Tensor
    copied: torch.cuda.Event


class PinnedTransfers:
    """Forward passes on a GPU with overlapping transfers; at most `depth` batches between `start` and `finish`.

    Args:
        resize: for images that are not preprocessed; without it a batch of such images is refused.

    One thread, in order. Each of the `depth` buffers for either direction grows to the largest batch. Where images are
    resized, a buffer holds at most 256 MiB, unless a single image takes more; larger batches arrive in parts.
    """

    depth = 2

    def __init__(self, device: torch.device, resize: DeviceResize | None = None) -> None:
        self._device = device
        self._resize = resize
        self._upload, self._download = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._slots = cycle(range(self.depth))
        self._host_inputs: dict[int, Tensor] = {}
        self._device_inputs: dict[int, Tensor] = {}
        self._host_outputs: dict[int, Tensor] = {}

    @torch.inference_mode()
    def start(self, run: Callable[[Tensor], Tensor], images: ImageBatch) -> Transfer:
        """Start `run` over a batch, which it receives as uint8 (B, H, W, 3) on the GPU, without waiting for it.

        The batch after the next reuses the buffers: its `start` has to follow this one's `finish`.

        Raises:
            ValueError: images that are not preprocessed, without `resize`; or as `DeviceResize.pack`.
        """
        slot, compute = next(self._slots), torch.cuda.current_stream(self._device)
        result = run(self._batch(slot, images)).float()
        self._download.wait_stream(compute)
        host_buffer = self._host_output(slot, result.shape)
        with torch.cuda.stream(self._download):
            host_buffer.copy_(result, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(self._download)
        return Transfer(result, host_buffer, copied)

    def finish(self, transfer: Transfer) -> NDArray[np.float32]:
        """Wait for the oldest unfinished transfer and return its result."""
        transfer.copied.synchronize()
        result: NDArray[np.float32] = transfer.host_buffer.numpy().copy()
        return result

    def _batch(self, slot: int, images: ImageBatch) -> Tensor:  # uint8 (B, H, W, 3) on the GPU
        if not (isinstance(images, np.ndarray) or all_preprocessed(images)):
            return self._resized(slot, images)
        pixels = preprocessed_pixels(images)
        shape = (len(pixels), *pixels[0].shape)

        def write_to(buffer: NDArray[np.uint8]) -> None:
            for target, image in zip(buffer.reshape(shape), pixels, strict=True):
                np.copyto(target, image)

        return self._send(slot, math.prod(shape), write_to).view(shape)

    def _resized(self, slot: int, images: Sequence[InputImage]) -> Tensor:
        """Resize a batch in parts, one after the other: all of them share the slot's buffers."""
        if self._resize is None:
            raise ValueError("only backend 'triton' resizes images; this model takes preprocessed ones")
        parts: list[Tensor] = []
        for packed in self._resize.pack(images):
            if parts:
                self._upload.synchronize()
                self._upload.wait_stream(torch.cuda.current_stream(self._device))
            parts.append(self._resize.unpack(packed, self._send(slot, packed.bytes, packed.write_to)))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _send(self, slot: int, count: int, write_to: Callable[[NDArray[np.uint8]], None]) -> Tensor:
        """uint8 (count,) on the GPU, as `write_to` fills it; the current stream waits for the copy."""
        compute = torch.cuda.current_stream(self._device)
        if slot not in self._host_inputs or len(self._host_inputs[slot]) < count:
            capacity = next_power_of_two(count)
            self._host_inputs[slot] = torch.empty(capacity, dtype=torch.uint8, pin_memory=True)
            self._device_inputs[slot] = torch.empty(capacity, dtype=torch.uint8, device=self._device)
            self._upload.wait_stream(compute)  # the allocator may have reused memory that it still reads
        sent, received = self._host_inputs[slot][:count], self._device_inputs[slot][:count]
        write_to(sent.numpy())
        with torch.cuda.stream(self._upload):
            received.copy_(sent, non_blocking=True)
        compute.wait_stream(self._upload)
        return received

    def _host_output(self, slot: int, shape: tuple[int, ...]) -> Tensor:
        """Pinned float32 memory of this shape, from a buffer that only grows."""
        buffer = self._host_outputs.get(slot)
        if buffer is None or buffer.shape[1:] != shape[1:] or len(buffer) < shape[0]:
            buffer = self._host_outputs[slot] = torch.empty(shape, dtype=torch.float32, pin_memory=True)
        return buffer[: shape[0]]

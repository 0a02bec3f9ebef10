"""Batches on their way to a GPU and back while it computes others: pinned buffers and a stream for each direction.

Written to PyTorch's documentation and not yet run on a GPU: unverified and unmeasured until someone has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One batch under way. `result` lives on the GPU until it has been copied to `landing`."""

    result: Tensor
    landing: Tensor
    landed: torch.cuda.Event


class Staging:
    """Runs passes on a GPU, at most `depth` between `start` and `finish`. One thread, in order."""

    depth = 2

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._arriving, self._leaving = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._slots = cycle(range(self.depth))
        self._pinned: dict[tuple[int, str], Tensor] = {}
        self._pixels: dict[int, Tensor] = {}

    @torch.inference_mode()
    def start(self, run: Callable[[Tensor], Tensor], pixels: NDArray[np.uint8]) -> Passage:
        """Begins `run` over uint8 (B, H, W, 3) and returns at once.

        A buffer is used again by the batch after the next, whose start comes after this one's finish.
        """
        slot, batch = next(self._slots), len(pixels)
        sent = self._buffer(slot, "pixels", pixels.shape, torch.uint8)
        sent.copy_(torch.from_numpy(np.require(pixels, requirements="W")))
        if slot not in self._pixels or len(self._pixels[slot]) < batch:
            self._pixels[slot] = torch.empty_like(sent, device=self._device)
        received = self._pixels[slot][:batch]
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._arriving):
            received.copy_(sent, non_blocking=True)
        computing.wait_stream(self._arriving)
        result = run(received).float()
        self._leaving.wait_stream(computing)
        landing = self._buffer(slot, "result", result.shape, torch.float32)
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

    def _buffer(self, slot: int, purpose: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """(B, …) of pinned memory, of a buffer that only grows."""
        kept = self._pinned.get((slot, purpose))
        if kept is None or kept.shape[1:] != shape[1:] or len(kept) < shape[0]:
            kept = self._pinned[slot, purpose] = torch.empty(shape, dtype=dtype, pin_memory=True)
        return kept[: shape[0]]

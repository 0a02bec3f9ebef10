"""A network captured as CUDA graphs, one per size of batch: a replay costs one launch. Knows no network."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .compile_events import compiled

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Where the GPU's table names no others: no batch is filled up to twice its size."""
_WARM_UP_PASSES = 2

Forward = Callable[[Tensor], Tensor]


def bucket_of(batch: int, buckets: tuple[int, ...] = BUCKETS) -> int:
    """The smallest bucket that holds a batch; the batch itself where none does."""
    index = bisect_left(buckets, batch)
    return buckets[index] if index < len(buckets) else batch


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """A graph with the buffers it reads and writes, and whatever else must live as long."""

    graph: torch.cuda.CUDAGraph
    pixels: Tensor
    result: Tensor
    forward: Forward


class Graphs:
    """Runs batches by replaying the graph of their bucket; a bucket is captured when it is first needed.

    Args:
        make: a forward pass with buffers of its own for each bucket: uint8 (B, H, W, 3) -> (B, …).
        image_size: of the square images.
        buckets: ascending; larger batches run as many graphs as they take.

    One thread at a time.
    """

    def __init__(
        self, make: Callable[[], Forward], image_size: int, device: torch.device, buckets: tuple[int, ...] = BUCKETS
    ) -> None:
        self._make = make
        self._image_size = image_size
        self._device = device
        self.buckets = buckets
        self._captures: dict[int, Capture] = {}

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3), here or on the host -> a new tensor of results."""
        return torch.cat([self._replay(part) for part in pixels.split(self.buckets[-1])])

    def prepare(self, batches: Iterable[int]) -> None:
        """Captures what these batches need, so that no request waits for it."""
        for batch in batches:
            self._captured(bucket_of(min(batch, self.buckets[-1]), self.buckets))

    def _replay(self, pixels: Tensor) -> Tensor:
        capture = self._captured(bucket_of(len(pixels), self.buckets))
        capture.pixels[: len(pixels)].copy_(pixels, non_blocking=True)
        capture.graph.replay()
        return capture.result[: len(pixels)].clone()

    def _captured(self, bucket: int) -> Capture:
        if bucket not in self._captures:
            self._captures[bucket] = self._capture(bucket)
            compiled(f"CUDA graph of batch {bucket}")
        return self._captures[bucket]

    def _capture(self, bucket: int) -> Capture:
        shape = (bucket, self._image_size, self._image_size, 3)
        pixels = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        forward = self._make()
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_PASSES):
                forward(pixels)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # the stream says which GPU captures; other models run on meanwhile
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = forward(pixels)
        return Capture(graph, pixels, result, forward)

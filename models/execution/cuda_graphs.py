"""CUDA graphs of a forward pass, one for each batch bucket: a replay costs one launch."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .compile_events import notify_compiled

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Default buckets, for GPUs whose table lists none: padding less than doubles a batch."""
_WARM_UP_PASSES = 2

Forward = Callable[[Tensor], Tensor]


def bucket_of(batch: int, buckets: tuple[int, ...] = BUCKETS) -> int:
    """Smallest bucket that holds a batch; the batch size itself if none does."""
    index = bisect_left(buckets, batch)
    return buckets[index] if index < len(buckets) else batch


@dataclass(frozen=True, slots=True, eq=False)
class CapturedGraph:
    """A graph with its static input and output, and the forward pass whose buffers it uses."""

    graph: torch.cuda.CUDAGraph
    pixels: Tensor
    result: Tensor
    forward: Forward


class CudaGraphs:
    """Forward passes by replaying the graph of the batch's bucket, captured on first use. Not thread-safe.

    Args:
        make_forward: a forward pass with buffers of its own, for each bucket: uint8 (B, H, W, 3) -> (B, …).
        image_size: side of the square images, in pixels.
        buckets: ascending; batches beyond the last are split.
    """

    def __init__(
        self,
        make_forward: Callable[[], Forward],
        image_size: int,
        device: torch.device,
        buckets: tuple[int, ...] = BUCKETS,
    ) -> None:
        self._make_forward = make_forward
        self._image_size = image_size
        self._device = device
        self.buckets = buckets
        self._graphs: dict[int, CapturedGraph] = {}

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3), on the GPU or the host -> a new tensor (B, …)."""
        return torch.cat([self._replay(part) for part in pixels.split(self.buckets[-1])])

    def prepare(self, batches: Iterable[int]) -> None:
        """Capture the graphs of these batch sizes ahead of the first request."""
        for batch in batches:
            self._graph_of(bucket_of(min(batch, self.buckets[-1]), self.buckets))

    def _replay(self, pixels: Tensor) -> Tensor:
        captured = self._graph_of(bucket_of(len(pixels), self.buckets))
        captured.pixels[: len(pixels)].copy_(pixels, non_blocking=True)
        captured.graph.replay()
        return captured.result[: len(pixels)].clone()

    def _graph_of(self, bucket: int) -> CapturedGraph:
        if bucket not in self._graphs:
            self._graphs[bucket] = self._capture(bucket)
            notify_compiled(f"CUDA graph of batch {bucket}")
        return self._graphs[bucket]

    def _capture(self, bucket: int) -> CapturedGraph:
        shape = (bucket, self._image_size, self._image_size, 3)
        pixels = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        forward = self._make_forward()
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_PASSES):
                forward(pixels)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # the stream selects the GPU; thread_local lets other models run during the capture
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = forward(pixels)
        return CapturedGraph(graph, pixels, result, forward)

"""CUDA graphs: buckets, padding and one capture per bucket, with a stand-in for the capture."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tessella.models.execution.compile_events import on_compile
from tessella.models.execution.cuda_graphs import CapturedGraph, CudaGraphs, bucket_of


class EagerGraph:
    """Stand-in for a captured graph: runs the forward pass on the static input."""

    def __init__(self, forward: Callable[[Tensor], Tensor], pixels: Tensor, result: Tensor) -> None:
        self._forward, self._pixels, self._result = forward, pixels, result

    def replay(self) -> None:
        self._result.copy_(self._forward(self._pixels))


class EagerGraphs(CudaGraphs):
    """CUDA graphs without a GPU."""

    def _capture(self, bucket: int) -> CapturedGraph:
        forward = self._make_forward()
        pixels = torch.zeros(bucket, self._image_size, self._image_size, 3, dtype=torch.uint8)
        result = forward(pixels)
        graph = EagerGraph(forward, pixels, result)
        return CapturedGraph(graph, pixels, result, forward)  # type: ignore[arg-type]


def total(pixels: Tensor) -> Tensor:
    return pixels.float().sum(dim=(1, 2, 3))[:, None]


@pytest.fixture
def graphs() -> EagerGraphs:
    return EagerGraphs(lambda: total, 2, torch.device("cpu"), (1, 4))


def test_a_batch_runs_in_the_smallest_bucket_that_holds_it() -> None:
    assert [bucket_of(batch, (1, 4, 8)) for batch in (1, 2, 4, 5, 8)] == [1, 4, 4, 8, 8]
    assert bucket_of(9, (1, 4, 8)) == 9


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 11])
def test_batches_are_padded_or_split_and_results_are_copies(graphs: EagerGraphs, batch: int) -> None:
    pixels = torch.randint(0, 256, (batch, 2, 2, 3), dtype=torch.uint8)
    result = graphs(pixels)
    graphs(torch.zeros_like(pixels))
    assert torch.equal(result, total(pixels))


def test_every_bucket_is_captured_once(graphs: EagerGraphs) -> None:
    events: list[str] = []
    with on_compile(events.append):
        graphs.prepare([1, 3, 4, 9])
        graphs(torch.zeros(5, 2, 2, 3, dtype=torch.uint8))
    assert events == ["CUDA graph of batch 1", "CUDA graph of batch 4"]

"""GPU timer: CUDA graphs of several runs over changing inputs, timed between CUDA events; peak rates of the GPU."""

import statistics
from collections.abc import Callable, Sequence
from itertools import cycle, islice

import torch

from ..roofline import Ceiling

_REPLAYS = 11
_WARM_UP = 2


def median_seconds(runs: Sequence[Callable[[], object]], *, min_seconds: float = 2e-3) -> float:
    """Median time of one run in seconds, without launch overhead.

    Args:
        runs: the same work on different inputs, so that none is in the L2 cache.
        min_seconds: duration of one graph replay; the graph repeats the runs to reach it.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for run in [*runs] * _WARM_UP:
            run()
    torch.cuda.current_stream().wait_stream(stream)
    estimate = _replay(_capture(runs), len(runs), 1)
    count = max(len(runs), min(1000, int(min_seconds / max(estimate, 1e-7))))
    return _replay(_capture(list(islice(cycle(runs), count))), count, _REPLAYS)


def measure_ceiling(megabytes: int = 2048, size: int = 8192) -> Ceiling:
    """Measure this GPU's peak rates: a bfloat16 matrix product, and a copy, counting bytes read and written."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(a)
    flops_per_second = 2 * size**3 / median_seconds([lambda: torch.mm(a, b, out=product)], min_seconds=20e-3)
    source = torch.randint(0, 255, (megabytes << 20,), device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    bandwidth = 2 * source.nbytes / median_seconds([lambda: target.copy_(source)], min_seconds=20e-3)
    return Ceiling(torch.cuda.get_device_name(), flops_per_second, bandwidth, measured=True)


def _capture(runs: Sequence[Callable[[], object]]) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    return graph


def _replay(graph: torch.cuda.CUDAGraph, count: int, replays: int) -> float:
    graph.replay()
    times = []
    for _ in range(replays):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / count)
    return statistics.median(times)

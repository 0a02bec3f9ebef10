"""Times work on a GPU: graphs of several runs over changing inputs, between device events. Knows no operator."""

import statistics
from collections.abc import Callable, Sequence
from itertools import cycle, islice

import torch

from ..roofline import Ceiling

_REPLAYS = 11
_WARM_UP = 2


def seconds(runs: Sequence[Callable[[], object]], *, least: float = 2e-3) -> float:
    """The median time of one run, launch gaps left out.

    Args:
        runs: the same work on inputs of their own each, so that none is found in the cache.
        least: seconds that one graph replay should take; the runs are repeated to get there.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for run in [*runs] * _WARM_UP:
            run()
    torch.cuda.current_stream().wait_stream(stream)
    rough = _replay(_captured(runs), len(runs), 1)
    count = max(len(runs), min(1000, int(least / max(rough, 1e-7))))
    return _replay(_captured(list(islice(cycle(runs), count))), count, _REPLAYS)


def ceiling(megabytes: int = 2048, size: int = 8192) -> Ceiling:
    """This GPU's rates, measured: a bfloat16 product of random matrices, and a copy counting bytes read and written."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(a)
    operations = 2 * size**3 / seconds([lambda: torch.mm(a, b, out=product)], least=20e-3)
    source = torch.randint(0, 255, (megabytes << 20,), device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    bandwidth = 2 * source.nbytes / seconds([lambda: target.copy_(source)], least=20e-3)
    return Ceiling(torch.cuda.get_device_name(), operations, bandwidth, measured=True)


def _captured(runs: Sequence[Callable[[], object]]) -> torch.cuda.CUDAGraph:
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

"""GPU timer without a GPU: how many runs a graph holds, with captures and replays replaced."""

from collections.abc import Callable, Sequence

import pytest
import torch

from tessella.benchmarks.operators import cuda_timer


class Stream:
    def wait_stream(self, other: object) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(("seconds", "count"), [(1e-3, 4), (1e-4, 40), (1.0, 2), (1e-9, 1000)])
def test_a_graph_repeats_the_runs_until_it_lasts_long_enough(
    seconds: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[list[str]] = []
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)

    def capture(runs: Sequence[Callable[[], object]]) -> None:
        graphs.append([str(run()) for run in runs])

    monkeypatch.setattr(cuda_timer, "_capture", capture)
    monkeypatch.setattr(cuda_timer, "_replay", lambda graph, count, replays: seconds)
    assert cuda_timer.median_seconds([lambda: "a", lambda: "b"], min_seconds=4e-3) == seconds
    assert graphs[0] == ["a", "b"]
    assert graphs[1] == ["a", "b"] * (count // 2), "inputs alternate"


def test_rates_are_flops_and_bytes_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2e-3, 1e-3])
    real = {name: getattr(torch, name) for name in ("randn", "randint")}
    for name, function in real.items():
        monkeypatch.setattr(torch, name, lambda *args, f=function, device, **options: f(*args, **options))
    monkeypatch.setattr(cuda_timer, "median_seconds", lambda runs, min_seconds: next(times))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    ceiling = cuda_timer.measure_ceiling(megabytes=1, size=8)
    assert (ceiling.name, ceiling.measured) == ("a GPU", True)
    assert ceiling.flops_per_second == 2 * 8**3 / 2e-3
    assert ceiling.bytes_per_second == 2 * 2**20 / 1e-3

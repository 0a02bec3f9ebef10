"""Summaries of rounds and ratios of rows: medians, ratios within each round, and their direction."""

import pytest

from tessella.benchmarks.service.load_generator import Load, Sample
from tessella.benchmarks.service.summary import ratios, summarise_rounds


def load(count: int, latency: float) -> Load:
    """Load of one second with `count` requests."""
    return Load(tuple(Sample(0, 0, latency, "accepted") for _ in range(count)), 1.0)


def row(server: str, *counts: int, latency: float) -> dict[str, object]:
    heading = {"mode": "closed", "size": "500x375", "load": 8, "server": server}
    return heading | summarise_rounds([load(count, latency) for count in counts])


def test_a_row_has_the_median_of_rounds_and_the_latencies_of_all() -> None:
    summary = summarise_rounds([load(10, 0.1), load(30, 0.2), load(80, 0.4)])
    assert summary["rounds"] == [10, 30, 80]
    assert summary["throughput"] == 30
    assert summary["spread"] == pytest.approx((55 - 20) / 2 / 30)
    assert (summary["accepted"], summary["seconds"]) == (120, 3.0)
    assert summary["latency_ms"]["p50"] == pytest.approx(400)
    assert summarise_rounds([load(0, 0)])["throughput"] == 0


def test_above_one_is_better_for_throughput_and_for_latency() -> None:
    cell = {
        "bare loop": row("bare loop", 20, 40, 40, latency=0.1),
        "tessella": row("tessella", 20, 40, 60, latency=0.2),
        "litserve": row("litserve", 10, 10, 10, latency=0.8),
    }
    bare, peer = ratios(cell)
    assert (bare["against"], bare["throughput"], bare["range"]) == ("bare loop", 1.0, [1.0, 1.5])
    assert bare["p50"] == pytest.approx(0.5)
    assert (peer["against"], peer["throughput"], peer["range"]) == ("litserve", 4.0, [2.0, 6.0])
    assert peer["p50"] == pytest.approx(4)
    assert "p99" not in peer, "30 latencies have no p99"
    assert (peer["mode"], peer["size"], peer["load"]) == ("closed", "500x375", 8)


def test_there_is_no_ratio_without_tessella_or_to_a_server_without_responses() -> None:
    assert ratios({"service": row("service", 10, latency=0.1)}) == []
    (ratio,) = ratios({"tessella": row("tessella", 9, latency=0.1), "fastapi": row("fastapi", 0, latency=0.1)})
    assert ratio == {"mode": "closed", "size": "500x375", "load": 8, "against": "fastapi"}

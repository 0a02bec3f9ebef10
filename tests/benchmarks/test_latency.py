"""Percentiles: numpy's, in milliseconds, and none that would be a guess."""

import pytest

from tessella.benchmarks.latency import summarise


def test_percentiles_are_milliseconds() -> None:
    found = summarise([number / 1e3 for number in range(1, 2002)])
    assert found == pytest.approx({"mean": 1001, "p50": 1001, "p95": 1901, "p99": 1981, "p99.9": 1999, "max": 2001})


def test_a_percentile_that_no_time_lies_above_is_not_named() -> None:
    named = {count: [key for key, value in summarise([0.1] * count).items() if value is None] for count in (1, 20, 100)}
    assert named == {1: ["p50", "p95", "p99", "p99.9"], 20: ["p99", "p99.9"], 100: ["p99.9"]}
    assert None not in summarise([0.1] * 1000).values()
    assert set(summarise([]).values()) == {None}

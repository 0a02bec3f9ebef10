"""Interleaved timing: equal numbers of rounds, rotating order, medians and percentiles."""

from functools import partial

import pytest

from tessella.benchmarks.timing import Timing, interleave, summarise


def test_candidates_take_turns_and_each_round_starts_with_another() -> None:
    calls: list[str] = []
    timings = interleave({name: partial(calls.append, name) for name in "abc"}, seconds=0, min_rounds=4)
    assert calls == list("aabbcc" + "abc" + "bca" + "cab" + "abc")
    assert {len(timing.rounds) for timing in timings.values()} == {4}


def test_settle_calls_are_not_timed() -> None:
    calls: list[str] = []
    timings = interleave({name: partial(calls.append, name) for name in "ab"}, seconds=0, min_rounds=2, settle_calls=2)
    assert calls == list("aabb" + "aaabbb" + "bbbaaa")
    assert {len(timing.rounds) for timing in timings.values()} == {2}


def test_rounds_continue_until_the_time_is_over() -> None:
    assert len(interleave({"a": lambda: None}, seconds=0.05, min_rounds=1)["a"].rounds) > 1


def test_the_clock_is_read_only_when_the_device_has_finished() -> None:
    events: list[str] = []
    interleave({"a": lambda: events.append("run")}, seconds=0, min_rounds=1, synchronise=lambda: events.append("wait"))
    assert events == ["run", "run", "wait", "run", "wait"]


def test_median_and_spread() -> None:
    timing = Timing((1.0, 2.0, 3.0, 4.0, 100.0))
    assert timing.median == 3.0
    assert timing.spread == pytest.approx(1 / 3)
    assert Timing((2.0,)).spread == 0


def test_percentiles_are_milliseconds() -> None:
    result = summarise([number / 1e3 for number in range(1, 2002)])
    assert result == pytest.approx({"mean": 1001, "p50": 1001, "p95": 1901, "p99": 1981, "p99.9": 1999, "max": 2001})


def test_a_percentile_with_no_value_above_it_is_none() -> None:
    missing = {
        count: [key for key, value in summarise([0.1] * count).items() if value is None] for count in (1, 20, 100)
    }
    assert missing == {1: ["p50", "p95", "p99", "p99.9"], 20: ["p99", "p99.9"], 100: ["p99.9"]}
    assert None not in summarise([0.1] * 1000).values()
    assert set(summarise([]).values()) == {None}

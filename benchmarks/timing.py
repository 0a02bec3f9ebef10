"""Interleaved timing: candidates take turns, so that noise on the machine affects all of them; latency statistics."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from ..models.backend_timings import relative_spread

PERCENTILES = (50.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Timing:
    """Values of one candidate, one per round, in seconds where `interleave` measured them."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the interquartile range, relative to the median."""
        return relative_spread(self.rounds)


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    min_rounds: int = 5,
    settle_calls: int = 0,
    synchronise: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Run every candidate once per round until the time is over; each round starts with another candidate.

    Args:
        candidates: functions without arguments, by name; each is first called twice without being timed.
        seconds: duration of all rounds together; at least `min_rounds` rounds are run.
        settle_calls: untimed calls before each timed one. On a CPU the threads of the previous candidate spin for a
            while, waiting for work, and occupy cores.
        synchronise: waits until the device has finished; called before each reading of the clock.
    """
    for candidate in candidates.values():
        candidate()
        candidate()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    first = 0
    while len(next(iter(times.values()))) < min_rounds or time.perf_counter() < end:
        for name in islice(cycle(candidates), first, first + len(candidates)):
            for _ in range(settle_calls):
                candidates[name]()
            synchronise()
            started = time.perf_counter()
            candidates[name]()
            synchronise()
            times[name].append(time.perf_counter() - started)
        first = (first + 1) % len(candidates)
    return {name: Timing(tuple(rounds)) for name, rounds in times.items()}


def summarise(seconds: Sequence[float]) -> dict[str, float | None]:
    """Latency statistics in milliseconds: mean, p50, p95, p99, p99.9 and max.

    A percentile is None where fewer than one value lies above it: p99.9 of 200 values would be their maximum.
    """
    values = np.asarray(seconds, dtype=np.float64) * 1e3
    result: dict[str, float | None] = {"mean": float(values.mean()) if len(values) else None}
    for percentile in PERCENTILES:
        enough = len(values) * (100 - percentile) / 100 >= 1 - 1e-9
        result[f"p{percentile:g}"] = float(np.percentile(values, percentile)) if enough else None
    return result | {"max": float(values.max()) if len(values) else None}

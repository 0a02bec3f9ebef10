"""Times several ways to do one thing in turns, so that a noisy machine is noisy for all of them. Knows no model."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from ..models.backend_timings import relative_spread


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a part of the median."""
        return relative_spread(self.rounds)


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    least_rounds: int = 5,
    settling: int = 0,
    synchronise: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Runs every candidate once a round, each round beginning with another one, until the time is over.

    Args:
        candidates: by name; each is called without arguments, first twice without being timed.
        seconds: of work in all; at least `least_rounds` rounds are made.
        settling: calls before each one that is timed. On a CPU the threads of the candidate before spin for a while,
            in wait for work that does not come, and take cores from this one.
        synchronise: waits until the device has finished; called before each reading of the clock.
    """
    for candidate in candidates.values():
        candidate()
        candidate()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    first = 0
    while len(next(iter(times.values()))) < least_rounds or time.perf_counter() < end:
        for name in islice(cycle(candidates), first, first + len(candidates)):
            for _ in range(settling):
                candidates[name]()
            synchronise()
            started = time.perf_counter()
            candidates[name]()
            synchronise()
            times[name].append(time.perf_counter() - started)
        first = (first + 1) % len(candidates)
    return {name: Timing(tuple(rounds)) for name, rounds in times.items()}


PERCENTILES = (50.0, 95.0, 99.0, 99.9)


def summarise(seconds: Sequence[float]) -> dict[str, float | None]:
    """Milliseconds: mean, p50, p95, p99, p99.9 and max.

    None for a percentile that fewer than one of these times lies above: the p99.9 of 200 times would be their maximum.
    """
    values = np.asarray(seconds, dtype=np.float64) * 1e3
    found: dict[str, float | None] = {"mean": float(values.mean()) if len(values) else None}
    for percentile in PERCENTILES:
        enough = len(values) * (100 - percentile) / 100 >= 1 - 1e-9
        found[f"p{percentile:g}"] = float(np.percentile(values, percentile)) if enough else None
    return found | {"max": float(values.max()) if len(values) else None}

"""Backend timer: one image and full batches in every backend, in turn, and the fastest of them. No torch."""

import statistics
import time
from collections.abc import Callable, Mapping

from ...models import cpu
from ...models.backend_rule import batch_size
from ...models.backend_timings import MIN_BATCH_GAIN, MeasuredChoice, Rates, score

RunBatch = Callable[[int], object]
"""Function that runs a batch of the given size."""

MAX_SLOWDOWN = 1.5
"""Maximum ratio to the fastest time for one image; slower backends are not measured in batches."""
_ROUNDS = (5, 15)
"""Minimum and maximum number of rounds."""
_WARMUP_IMAGES = 2
"""Untimed images before each timed call: the previous backend's threads still spin, and caches are cold."""
_BUDGET = 15.0
"""Time for all rounds in seconds; the minimum number of rounds may take longer."""


def choose_fastest(runs: Mapping[str, RunBatch]) -> MeasuredChoice:
    """Backend with the largest product of its rates for one image and for full batches, measured now.

    A single client sees the first rate, a busy service the second; the product weighs a factor in either equally.
    Where batches gain nothing, images run one at a time, so the second rate counts as no less than the first.
    """
    size = batch_size(cpu.usable_cores())
    single = _median_times({(name, 1): run for name, run in runs.items()})
    limit = MAX_SLOWDOWN * min(single.values())
    finalists = {name: run for name, run in runs.items() if single[name, 1] <= limit}
    times = _median_times({(name, count): run for name, run in finalists.items() for count in (1, size)})
    rates: dict[str, tuple[float, ...]] = {
        name: (1 / times[name, 1], size / times[name, size]) if name in finalists else (1 / single[name, 1],)
        for name in runs
    }
    best = max(finalists, key=lambda name: score(rates[name]))
    gain = rates[best][1] / rates[best][0]
    return MeasuredChoice(best, _reason(rates, best, gain, size), rates, size if gain > MIN_BATCH_GAIN else 1)


def _median_times(runs: Mapping[tuple[str, int], RunBatch]) -> dict[tuple[str, int], float]:
    """Median seconds of each call over several rounds, after one to compile and one to estimate the time of a round."""
    _time_round(runs)
    started = time.perf_counter()
    _time_round(runs)
    affordable = _BUDGET / max(time.perf_counter() - started, 1e-9)
    min_rounds, max_rounds = _ROUNDS
    rounds = [_time_round(runs) for _ in range(max(min_rounds, min(int(affordable), max_rounds)))]
    return {key: statistics.median(times[key] for times in rounds) for key in runs}


def _time_round(runs: Mapping[tuple[str, int], RunBatch]) -> dict[tuple[str, int], float]:
    """Seconds of each call, one after the other."""
    times = {}
    for (name, count), run in runs.items():
        for _ in range(_WARMUP_IMAGES):
            run(1)
        started = time.perf_counter()
        run(count)
        times[name, count] = time.perf_counter() - started
    return times


def _reason(rates: Rates, best: str, gain: float, size: int) -> str:
    order = sorted(rates, key=lambda name: (name != best, -rates[name][0]))
    figures = "; ".join(f"{name} {_figures(rates[name], size)}" for name in order)
    prefix = "measured fastest here" if len(rates) > 1 else "measured here"
    gained = f"gain {gain - 1:.0%}" if gain > MIN_BATCH_GAIN else f"gain nothing ({gain - 1:+.0%})"
    return f"{prefix}: {figures}; batches of {size} {gained}"


def _figures(rates: tuple[float, ...], size: int) -> str:
    batched = f", {rates[-1]:.3g} in batches of {size}" if len(rates) > 1 else ""
    return f"{1e3 / rates[0]:.1f} ms for one image ({rates[0]:.3g} images/s{batched})"

"""How fast backends run a network on this CPU, by single images and in batches: measured in turns, the best one named.

Knows no backend and no network.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import cpu

Run = Callable[[int], object]
"""Runs a batch of so many images."""
Rates = Mapping[str, tuple[float, ...]]
"""Images/s of each backend at batch 1, and in batches where that was measured."""

WORTHWHILE = 1.05
"""Images wait for each other in a batch; it must gain at least this factor in images/s for that."""
NEAR = 1.5
"""A backend that takes so many times as long for one image is not asked for batches: they would not make up for it."""
_BATCHES = (8, 32)
_ROUNDS = (3, 7)
_SETTLING = 2
"""Images before each call that is timed: threads of the backend before still spin, and the caches hold its weights."""
_SECONDS = 5.0
"""For all rounds together, if that gives enough of them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend, and a sentence on why.

    `rates`: what was measured, if anything was. `preferred_batch`: the largest batch that pays, None if not known.
    """

    backend: str
    reason: str
    rates: Rates = field(default_factory=dict)
    preferred_batch: int | None = None


def batch_size() -> int:
    """Of the batches that are measured, and later run where they gain: an image for each core, within bounds."""
    fewest, most = _BATCHES
    return max(fewest, min(cpu.usable_cores(), most))


def relative_spread(seconds: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a part of the median; 0 for a single time."""
    if len(seconds) < 2:
        return 0.0
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return (upper - lower) / 2 / median


def fastest(runs: Mapping[str, Run]) -> Choice:
    """The backend with the largest product of its rates for one image and for full batches.

    A lone client sees the one, a busy service the other; the product weighs a factor in either alike. Where batches
    gain nothing images run one at a time, so the second rate is never less than the first.
    """
    size = batch_size()
    single = _medians({(name, 1): run for name, run in runs.items()})
    limit = NEAR * min(single.values())
    near = {name: run for name, run in runs.items() if single[name, 1] <= limit}
    both = _medians({(name, count): run for name, run in near.items() for count in (1, size)})
    rates: dict[str, tuple[float, ...]] = {
        name: (1 / both[name, 1], size / both[name, size]) if name in near else (1 / single[name, 1],) for name in runs
    }
    best = max(near, key=lambda name: rates[name][0] * max(rates[name]))
    gain = rates[best][1] / rates[best][0]
    return Choice(best, _reason(rates, best, gain, size), rates, size if gain > WORTHWHILE else 1)


def _medians(runs: Mapping[tuple[str, int], Run]) -> dict[tuple[str, int], float]:
    """Seconds of each call, in turns. Two rounds go before: one to compile, one that tells how many can be afforded."""
    _round(runs)
    started = time.perf_counter()
    _round(runs)
    affordable = _SECONDS / max(time.perf_counter() - started, 1e-9)
    fewest, most = _ROUNDS
    rounds = [_round(runs) for _ in range(max(fewest, min(int(affordable), most)))]
    return {key: statistics.median(times[key] for times in rounds) for key in runs}


def _round(runs: Mapping[tuple[str, int], Run]) -> dict[tuple[str, int], float]:
    times = {}
    for (name, count), run in runs.items():
        for _ in range(_SETTLING):
            run(1)
        started = time.perf_counter()
        run(count)
        times[name, count] = time.perf_counter() - started
    return times


def _reason(rates: Rates, best: str, gain: float, size: int) -> str:
    order = sorted(rates, key=lambda name: (name != best, -rates[name][0]))
    figures = "; ".join(f"{name} {_figures(rates[name], size)}" for name in order)
    first = "measured fastest here" if len(rates) > 1 else "measured here"
    gains = f"batches of {size} gain {gain - 1:.0%}" if gain > WORTHWHILE else f"batches gain nothing ({gain - 1:+.0%})"
    return f"{first}: {figures}; {gains}"


def _figures(rates: tuple[float, ...], size: int) -> str:
    batched = f", {rates[-1]:.3g} in batches of {size}" if len(rates) > 1 else ""
    return f"{1e3 / rates[0]:.1f} ms for one image ({rates[0]:.3g} images/s{batched})"

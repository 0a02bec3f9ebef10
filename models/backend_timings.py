"""How fast backends run a network on this CPU, by single images and in batches: measured in turns, the best one named.

Knows no backend and no network.
"""

import hashlib
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import cpu
from .cache import CacheError, cache_folder, make_cache_folder
from .packages import installed, version

RunBatch = Callable[[int], object]
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
class BackendChoice:
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


def choose_fastest(runs: Mapping[str, RunBatch]) -> BackendChoice:
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
    return BackendChoice(best, _reason(rates, best, gain, size), rates, size if gain > WORTHWHILE else 1)


def _medians(runs: Mapping[tuple[str, int], RunBatch]) -> dict[tuple[str, int], float]:
    """Seconds of each call, in turns. Two rounds go before: one to compile, one that tells how many can be afforded."""
    _round(runs)
    started = time.perf_counter()
    _round(runs)
    affordable = _SECONDS / max(time.perf_counter() - started, 1e-9)
    fewest, most = _ROUNDS
    rounds = [_round(runs) for _ in range(max(fewest, min(int(affordable), most)))]
    return {key: statistics.median(times[key] for times in rounds) for key in runs}


def _round(runs: Mapping[tuple[str, int], RunBatch]) -> dict[tuple[str, int], float]:
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


RUNTIMES = ("torch", "onnxruntime", "openvino")
_log = logging.getLogger(__name__)


def load_or_measure(
    subject: object, dtype: str, name: str, measure: Callable[[], BackendChoice], *, backend: str
) -> BackendChoice:
    """The choice that is remembered for a network or file, or the one measured now, which is then remembered.

    Args:
        subject: tells it from all others; JSON values.
        name: for people.
        backend: the one that is taken where the cache can take nothing, as nothing is measured then.
    """
    try:
        file = cache_folder("choices") / f"{_key(subject, dtype, backend)}.json"
        if (document := _read(file)) is not None:
            return document[1]
        make_cache_folder(file.parent)
        _log.info("measuring how fast %s is on this CPU: once, then it is remembered", name)
        choice = measure()
        _write(file, {"network": name, **asdict(choice)})
    except CacheError as error:
        _log.warning("it is not measured how fast %s is on this CPU: %s", name, error)
        return BackendChoice(backend, "not measured, as the cache cannot be written")
    return choice


def recorded_choices() -> list[str]:
    """What was measured on this machine before, a sentence each."""
    try:
        files = sorted(cache_folder("choices").glob("*.json"), key=lambda file: file.stat().st_mtime)
    except (CacheError, OSError):
        return []
    return [f"{found[0]}: {found[1].reason}" for file in files if (found := _read(file)) is not None]


def _key(subject: object, dtype: str, backend: str) -> str:
    """Of the network or file, and of all that decides how fast it is."""
    versions = {name: version(name) for name in ("tessella", *RUNTIMES) if installed(name)}
    parts = (subject, dtype, backend, cpu.name(), cpu.usable_cores(), batch_size(), versions)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _read(file: Path) -> tuple[str, BackendChoice] | None:
    """The network's name and a remembered choice; None where there is none that this version can read."""
    try:
        document: dict[str, Any] = json.loads(file.read_text())
        rates = {name: tuple(map(float, found)) for name, found in document.pop("rates").items()}
        network, choice = document.pop("network"), BackendChoice(rates=rates, **document)
        whole = isinstance(choice.preferred_batch, int) and choice.backend in rates.keys() & set(RUNTIMES)
        return (network, choice) if whole else None
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return None


def _write(file: Path, document: dict[str, Any]) -> None:
    """All of it or nothing: another process may read meanwhile, and the disk may be full."""
    try:
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=file.parent) as folder:
            draft = Path(folder) / file.name
            draft.write_text(json.dumps(document))
            draft.replace(file)
    except OSError as error:
        _log.warning("what was measured is not remembered: %s", error)

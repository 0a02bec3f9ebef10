"""Backend timings on this CPU: one image and full batches, measured in turn and cached. No torch."""

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
"""Function that runs a batch of the given size."""
Rates = Mapping[str, tuple[float, ...]]
"""Images/s of each backend: at batch 1 and, where measured, in full batches."""

RUNTIMES = ("torch", "onnxruntime", "openvino")
MIN_BATCH_GAIN = 1.05
"""Minimum gain in images/s for batching, as images in a batch wait for each other."""
MAX_SLOWDOWN = 1.5
"""Maximum ratio to the fastest time for one image; slower backends are not measured in batches."""
_BATCH_SIZES = (8, 32)
"""Minimum and maximum size of a measured batch."""
_ROUNDS = (3, 7)
"""Minimum and maximum number of rounds."""
_WARMUP_IMAGES = 2
"""Untimed images before each timed call: the previous backend's threads still spin, and caches are cold."""
_BUDGET = 5.0
"""Time for all rounds in seconds; the minimum number of rounds may take longer."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """Chosen backend, with the reason in a sentence.

    Attributes:
        rates: measured rates, empty if nothing was measured.
        preferred_batch: largest batch that is worth waiting for, None if not measured.
    """

    backend: str
    reason: str
    rates: Rates = field(default_factory=dict)
    preferred_batch: int | None = None


def batch_size() -> int:
    """Size of a measured batch, and of served ones where batching gains: an image per core, within bounds."""
    smallest, largest = _BATCH_SIZES
    return max(smallest, min(cpu.usable_cores(), largest))


def relative_spread(seconds: Sequence[float]) -> float:
    """Half the interquartile range relative to the median; 0 for a single time."""
    if len(seconds) < 2:
        return 0.0
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return (upper - lower) / 2 / median


def choose_fastest(runs: Mapping[str, RunBatch]) -> BackendChoice:
    """Backend with the largest product of its rates for one image and for full batches, measured now.

    A single client sees the first rate, a busy service the second; the product weighs a factor in either equally.
    Where batches gain nothing, images run one at a time, so the second rate counts as no less than the first.
    """
    size = batch_size()
    single = _median_times({(name, 1): run for name, run in runs.items()})
    limit = MAX_SLOWDOWN * min(single.values())
    finalists = {name: run for name, run in runs.items() if single[name, 1] <= limit}
    times = _median_times({(name, count): run for name, run in finalists.items() for count in (1, size)})
    rates: dict[str, tuple[float, ...]] = {
        name: (1 / times[name, 1], size / times[name, size]) if name in finalists else (1 / single[name, 1],)
        for name in runs
    }
    best = max(finalists, key=lambda name: rates[name][0] * max(rates[name]))
    gain = rates[best][1] / rates[best][0]
    return BackendChoice(best, _reason(rates, best, gain, size), rates, size if gain > MIN_BATCH_GAIN else 1)


def load_or_measure(
    subject: object, dtype: str, name: str, measure: Callable[[], BackendChoice], *, backend: str
) -> BackendChoice:
    """Cached choice for a network or file, or the result of `measure`, which is then cached.

    Args:
        subject: JSON values that identify the network or file.
        name: display name.
        backend: the choice if the cache cannot be written, as nothing is measured then.
    """
    try:
        file = cache_folder("choices") / f"{_key(subject, dtype, backend)}.json"
        if (cached := _read(file)) is not None:
            return cached[1]
        make_cache_folder(file.parent)
        _log.info("measuring how fast %s is on this CPU; the result is cached", name)
        choice = measure()
        _write(file, {"network": name, **asdict(choice)})
    except CacheError as error:
        _log.warning("not measured how fast %s is on this CPU: %s", name, error)
        return BackendChoice(backend, "not measured, as the cache cannot be written")
    return choice


def recorded_choices() -> list[str]:
    """Cached choices of this machine, oldest first: `name: reason` each."""
    try:
        files = sorted(cache_folder("choices").glob("*.json"), key=lambda file: file.stat().st_mtime)
    except (CacheError, OSError):
        return []
    return [f"{entry[0]}: {entry[1].reason}" for file in files if (entry := _read(file)) is not None]


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


def _key(subject: object, dtype: str, backend: str) -> str:
    """Cache key: hash of the network or file and of everything that decides its speed."""
    versions = {name: version(name) for name in ("tessella", *RUNTIMES) if installed(name)}
    parts = (subject, dtype, backend, cpu.name(), cpu.usable_cores(), batch_size(), versions)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _read(file: Path) -> tuple[str, BackendChoice] | None:
    """Network name and cached choice; None if the file is missing or invalid for this version."""
    try:
        document: dict[str, Any] = json.loads(file.read_text())
        rates = {name: tuple(map(float, values)) for name, values in document.pop("rates").items()}
        network, choice = document.pop("network"), BackendChoice(rates=rates, **document)
        valid = isinstance(choice.preferred_batch, int) and choice.backend in rates.keys() & set(RUNTIMES)
        return (network, choice) if valid else None
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return None


def _write(file: Path, document: dict[str, Any]) -> None:
    """Write the file atomically, as other processes may read it and the disk may be full."""
    try:
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=file.parent) as folder:
            draft = Path(folder) / file.name
            draft.write_text(json.dumps(document))
            draft.replace(file)
    except OSError as error:
        _log.warning("the measured choice cannot be cached: %s", error)

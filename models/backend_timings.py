"""Backend timings of this CPU: the table that `tessella tune --device cpu` writes and later starts read. No torch."""

import json
import logging
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import backend_rule, cpu
from .backend_rule import RUNTIMES, BackendChoice, Machine, NetworkSize, batch_size, describe_choice
from .cache import CacheError, cache_folder
from .config import Config
from .packages import installed, version
from .types import Document

Rates = Mapping[str, tuple[float, ...]]
"""Images/s of each backend: at batch 1 and, where measured, in full batches."""

FILE = "backend-timings.json"
"""Name of the table in the cache folder."""
MIN_BATCH_GAIN = 1.05
"""Minimum gain in images/s for batching, as images in a batch wait for each other."""
MIN_BFLOAT16_SPEEDUP = 1.15
"""Minimum speed-up over float32 for which dtype `auto` is bfloat16, in exchange for its lower precision."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MeasuredChoice:
    """Fastest backend of those measured.

    Attributes:
        reason: the figures in a sentence.
        preferred_batch: largest batch that is worth waiting for.
    """

    backend: str
    reason: str
    rates: Rates
    preferred_batch: int

    @property
    def score(self) -> float:
        """Product of the rates for one image and for full batches; never below the square of the first."""
        return score(self.rates[self.backend])


@dataclass(frozen=True, slots=True)
class Entry:
    """Timings of one network or file in one dtype.

    Attributes:
        network: display name.
        subject: JSON object that identifies the network or file, as `subject_of_file` or {"config": …}.
        dtype: `float32`, `bfloat16`, or `auto` for an .onnx file.
    """

    network: str
    subject: Document
    dtype: str
    choice: MeasuredChoice


@dataclass(frozen=True, slots=True)
class TimingsTable:
    """Timings of this machine, and the file that they were read from."""

    path: Path
    entries: tuple[Entry, ...]

    def find(self, subject: Document, dtype: str) -> Entry | None:
        """Entry of a network or file in a dtype; for `auto` of a network the one in the dtype that is worth it."""
        by_dtype = {entry.dtype: entry for entry in self.entries if entry.subject == plain(subject)}
        wide, narrow = by_dtype.get("float32"), by_dtype.get("bfloat16")
        if dtype != "auto" or dtype in by_dtype or wide is None or narrow is None:
            return by_dtype.get(dtype)
        return narrow if narrow.choice.score >= MIN_BFLOAT16_SPEEDUP**2 * wide.choice.score else wide

    def choose(self, entry: Entry, cores: int, *, backend: str, dtype: str) -> BackendChoice | None:
        """Choice of an entry; None if `backend` is requested and its batches were not measured."""
        name = entry.choice.backend if backend == "auto" else backend
        rates = entry.choice.rates.get(name, ())
        if len(rates) < 2:
            return None
        batch = entry.choice.preferred_batch
        if name != entry.choice.backend:
            batch = batch_size(cores) if rates[1] / rates[0] > MIN_BATCH_GAIN else 1
        parts = [value for value, asked in ((name, backend), (entry.dtype, dtype)) if asked == "auto" != value]
        clause = describe_choice(f"the table {self.path}", parts, batch)
        return BackendChoice(name, entry.dtype, batch, f"{clause} ({entry.choice.reason})")


def choose(
    config: Config, machine: Machine, table: TimingsTable | None, *, backend: str = "auto", dtype: str = "auto"
) -> BackendChoice:
    """Choice for a checkpoint on a CPU: of the table where it has the network, else of the rule.

    Raises:
        ValueError: an unknown dtype.
    """
    entry = table.find({"config": asdict(config)}, dtype) if table else None
    choice = table.choose(entry, machine.cores, backend=backend, dtype=dtype) if table and entry else None
    if choice and (choice.backend == "torch" or machine.exports):
        return choice
    return backend_rule.choose(NetworkSize.of(config), machine, backend=backend, dtype=dtype)


def score(rates: Sequence[float]) -> float:
    """Product of the rates for one image and for full batches; batches that gain nothing count as single images."""
    return rates[0] * max(rates)


def relative_spread(seconds: Sequence[float]) -> float:
    """Half the interquartile range relative to the median; 0 for a single time."""
    if len(seconds) < 2:
        return 0.0
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return (upper - lower) / 2 / median


def describe_machine() -> dict[str, Any]:
    """CPU, cores and runtime versions; a table of others does not apply."""
    versions = {name: version(name) for name in ("tessella", *RUNTIMES) if installed(name)}
    return {"cpu": cpu.name(), "bfloat16": cpu.has_bfloat16(), "cores": cpu.usable_cores(), "versions": versions}


def subject_of_file(path: Path, size: int) -> Document:
    """Identity of an .onnx file: its name and size in bytes, as it may stand elsewhere on another replica."""
    return {"file": path.name, "bytes": size}


def default_path() -> Path:
    """Path of the table in the cache folder.

    Raises:
        CacheError: there is no cache folder.
    """
    return cache_folder(FILE)


def load_table(path: Path | None = None) -> TimingsTable | None:
    """Table of a file, by default the one in the cache folder; None if it does not apply here, which is logged once.

    Raises:
        ValueError: `path` is given and does not exist.
    """
    if path is not None and not path.is_file():
        raise ValueError(f"there is no file {str(path)!r} with backend timings")
    try:
        file = path or default_path()
        text = file.read_text("utf-8") if file.is_file() else None
    except CacheError:
        return None
    except (OSError, ValueError) as error:
        _warn_once(f"the backend timings of {file} are ignored: {error}")
        return None
    return None if text is None else _parse(text, file)


def save_table(path: Path, entries: Iterable[Entry]) -> TimingsTable:
    """Write entries as the table of this machine; those of the same machine in the file that are not replaced stay.

    Raises:
        OSError: the file cannot be written.
    """
    added = tuple(entries)
    replaced = [(entry.subject, entry.dtype) for entry in added]
    previous = load_table(path) if path.is_file() else None
    kept = () if previous is None else previous.entries
    table = TimingsTable(path, (*(entry for entry in kept if (entry.subject, entry.dtype) not in replaced), *added))
    document = {"machine": describe_machine(), "entries": [asdict(entry) for entry in table.entries]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        draft.write_text(json.dumps(document, indent=1))
        draft.replace(path)
    return table


def plain(subject: Document) -> Document:
    """A subject as JSON returns it: lists in place of tuples."""
    document: Document = json.loads(json.dumps(subject))
    return document


def _parse(text: str, file: Path) -> TimingsTable | None:
    try:
        document = json.loads(text)
        if difference := _difference(document["machine"]):
            _warn_once(f"the backend timings of {file} are ignored: measured with {difference}")
            return None
        return TimingsTable(file, tuple(map(_entry, document["entries"])))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        _warn_once(
            f"the backend timings of {file} are ignored, as they are not in the format of this version: {error!r}"
        )
        return None


def _difference(machine: dict[str, Any]) -> str:
    """First property in which a machine differs from this one: `cores 4, not 2`; empty if none does."""
    measured, current = _flat(machine), _flat(describe_machine())
    for name in current | measured:
        if measured.get(name) != current.get(name):
            return f"{name} {measured.get(name, 'not installed')}, not {current.get(name, 'installed')}"
    return ""


def _flat(machine: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in machine.items() if name != "versions"} | dict(machine["versions"])


def _entry(document: dict[str, Any]) -> Entry:
    """Entry of a JSON object. Raises ValueError, TypeError or LookupError if it is invalid."""
    choice = dict(document["choice"])
    rates = {name: tuple(map(float, values)) for name, values in choice.pop("rates").items()}
    entry = Entry(**document | {"choice": MeasuredChoice(rates=rates, **choice)})
    if type(entry.choice.preferred_batch) is not int or entry.choice.preferred_batch < 1:
        raise ValueError(f"preferred_batch is {entry.choice.preferred_batch!r}")
    if entry.choice.backend not in RUNTIMES or len(rates[entry.choice.backend]) != 2:
        raise ValueError(f"backend {entry.choice.backend!r} has no two rates")
    if not all(value and min(value) > 0 for value in rates.values()):
        raise ValueError("a rate is missing or not positive")
    if not isinstance(entry.subject, dict) or not isinstance(entry.choice.reason, str):
        raise TypeError("subject or reason has another type")
    return entry


@lru_cache
def _warn_once(message: str) -> None:
    """Log a warning once per process, as every model reads the table."""
    _log.warning("%s", message)

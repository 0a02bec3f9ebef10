"""What was measured on this CPU before, kept between runs by what it was measured of. Knows no runtime."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import cpu
from .cache import CacheError, cache_folder, make_cache
from .cpu_rates import Choice, batch_size
from .packages import installed, version

RUNTIMES = ("torch", "onnxruntime", "openvino")
_log = logging.getLogger(__name__)


def remembered_or(subject: object, dtype: str, name: str, measure: Callable[[], Choice], *, backend: str) -> Choice:
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
        make_cache(file.parent)
        _log.info("measuring how fast %s is on this CPU: once, then it is remembered", name)
        choice = measure()
        _write(file, {"network": name, **asdict(choice)})
    except CacheError as error:
        _log.warning("it is not measured how fast %s is on this CPU: %s", name, error)
        return Choice(backend, "not measured, as the cache cannot be written")
    return choice


def remembered() -> list[str]:
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


def _read(file: Path) -> tuple[str, Choice] | None:
    """The network's name and a remembered choice; None where there is none that this version can read."""
    try:
        document: dict[str, Any] = json.loads(file.read_text())
        rates = {name: tuple(map(float, found)) for name, found in document.pop("rates").items()}
        network, choice = document.pop("network"), Choice(rates=rates, **document)
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

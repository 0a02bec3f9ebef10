"""Benchmark results: the environment they were measured in, JSON documents, and resumable tables of JSON lines."""

import datetime
import json
import platform
import subprocess
from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch

from ..models import cpu


class Row(Protocol):
    """Row of a results table: a dataclass whose key identifies one measurement."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def key(self) -> tuple[object, ...]: ...


R = TypeVar("R", bound=Row)


def environment(device: str) -> dict[str, Any]:
    """Environment of a measurement: device, versions, date and commit."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def raise_error(name: str, error: Exception) -> None:
    """Default error handler of a benchmark: raise the error of the measurement `name`."""
    raise error


def write(document: dict[str, Any], path: Path | None) -> None:
    """Write the document as one line to standard output, or indented to a file."""
    if path is None:
        print(json.dumps(document))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")


class ResultsTable(Generic[R]):
    """Table filled over several runs: one JSON object per line, written as soon as it is measured.

    Args:
        row_type: class of the rows.
        path: of the file; None keeps the rows in memory only.
    """

    def __init__(self, row_type: type[R], path: Path | None) -> None:
        self._path = path
        self.rows = _read(row_type, path) if path and path.exists() else []
        self.known_keys = {row.key for row in self.rows}
        """Keys of the rows that earlier runs measured."""

    def append(self, row: R) -> None:
        """Add a row; the file also records the environment of this run."""
        self.rows.append(row)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(row) | environment(device)) + "\n")


def dtype_name(dtype: torch.dtype) -> str:
    """Name of a dtype without its module: `torch.bfloat16` -> `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def _read(row_type: type[R], path: Path) -> list[R]:
    names = {field.name for field in fields(row_type)}
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [row_type(**{name: line[name] for name in names}) for line in lines]


def _device_name(device: str) -> str:
    return cpu.name() if device == "cpu" else torch.cuda.get_device_name(device)


def _commit() -> str | None:
    """Commit of the source tree, with a `+` where it has uncommitted changes; None outside a git repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

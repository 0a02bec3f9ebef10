"""Where and when something was measured; the JSON document a benchmark ends with, or the lines it adds to a table."""

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
    """A dataclass with a key, under which it is measured once."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def key(self) -> tuple[object, ...]: ...


R = TypeVar("R", bound=Row)


def circumstances(device: str) -> dict[str, Any]:
    """Machine, versions, date and commit: what a figure means nothing without."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def give_up(what: str, error: Exception) -> None:
    """What a measurement does, unless told otherwise, with something that fails."""
    raise error


def write(document: dict[str, Any], path: Path | None) -> None:
    """The document as one line on standard output, or indented into a file."""
    if path is None:
        print(json.dumps(document))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")


class ResultsTable(Generic[R]):
    """A table that a measurement fills over several runs: one JSON object a line, written as soon as it is measured.

    Args:
        kind: the class of its rows.
        path: of the file; None keeps the rows in memory only.
    """

    def __init__(self, kind: type[R], path: Path | None) -> None:
        self._path = path
        self.rows = _read(kind, path) if path and path.exists() else []
        self.known = {row.key for row in self.rows}
        """Keys of the rows that earlier runs have measured."""

    def append(self, row: R) -> None:
        """Add a row, in the file with the circumstances of this run."""
        self.rows.append(row)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(row) | circumstances(device)) + "\n")


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.bfloat16` -> `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def _read(kind: type[R], path: Path) -> list[R]:
    names = {field.name for field in fields(kind)}
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [kind(**{name: line[name] for name in names}) for line in lines]


def _device_name(device: str) -> str:
    return cpu.name() if device == "cpu" else torch.cuda.get_device_name(device)


def _commit() -> str | None:
    """Of the source tree this runs from; None from a wheel. A `+` means that it was changed since."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

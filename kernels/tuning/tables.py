"""The committed tables of measured configurations, one JSON file per GPU: read, checked, looked up, written.

A table counts only for the GPU, the triton version and the kernel sources it was measured with. One that does not fit,
or cannot be read, is ignored with a warning that names it.
"""

import hashlib
import json
import logging
import warnings
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ..device import Gpu
from ..versions import installed_version

FOLDER = Path(__file__).parent / "configs"
SOURCES = Path(__file__).parents[1] / "triton"
"""Folder of the kernels, whose text decides how fast a launch configuration is."""

_NUMBERS = {"block_m", "block_n", "block_k", "warps", "stages", "splits", "group_m"}
_FLAGS = {"pdl"}
_DOCUMENT = ("gpu", "triton", "sources", "entries", "choices", "buckets")
_CHOICES = {"triton", "torch", "ahead", "beside"}
_log = logging.getLogger(__name__)

_tables: dict[Gpu, "Table | None"] = {}


class TableError(ValueError):
    """A table of configurations is not what it should be."""


@dataclass(slots=True)
class Table:
    """What was measured on one GPU.

    `entries`: by key, the launch configuration. `choices`: by key, the quicker of `triton` and `torch` for a composite,
    of `ahead` and `beside` for the words of a TNT. `buckets`: sizes of batch that are worth a CUDA graph of their own,
    ascending; none: powers of two. `tessella tune` leaves them alone: they are not the batches it tunes for, between
    which a batch would be filled up to several times its size.
    """

    gpu: str
    triton: str
    sources: str
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Writes through a neighbouring file, so that a reader never sees half a table."""
        document = {name: getattr(self, name) for name in _DOCUMENT}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        draft.replace(path)


def key(operator: str, rows: int, columns: int, depth: int, dtype: torch.dtype, detail: str = "none") -> str:
    """How an entry is found again."""
    return f"{operator} {rows}x{columns}x{depth} {str(dtype).removeprefix('torch.')} {detail}"


def lookup(
    gpu: Gpu, operator: str, rows: int, columns: int, depth: int, dtype: torch.dtype, detail: str
) -> dict[str, Any] | None:
    """The measured configuration for exactly this shape, or None."""
    table = of(gpu)
    return None if table is None else table.entries.get(key(operator, rows, columns, depth, dtype, detail))


def choice(gpu: Gpu, composite: str, rows: int, dim: int, dtype: torch.dtype) -> str | None:
    """Which way was measured quicker for a composite at this shape; None where none was."""
    table = of(gpu)
    return None if table is None else table.choices.get(key(composite, rows, dim, 0, dtype))


def buckets(gpu: Gpu) -> tuple[int, ...]:
    """Sizes of batch that the table names, ascending; none where it names none."""
    table = of(gpu)
    return () if table is None else tuple(table.buckets)


def prefers_torch(gpu: Gpu, dtype: torch.dtype) -> bool:
    """Whether any composite of this dtype was measured quicker in PyTorch."""
    table = of(gpu)
    kind = f" {str(dtype).removeprefix('torch.')} "
    return table is not None and any(kind in name and choice == "torch" for name, choice in table.choices.items())


def standing(gpu: Gpu) -> str:
    """Where launch configurations come from, in a clause for people."""
    if (table := of(gpu)) is not None:
        return f"launch configurations as measured on {gpu.name} with triton {table.triton}"
    return f"launch configurations by a heuristic, as none were measured on {gpu.name} with triton {triton_version()}"


def of(gpu: Gpu) -> Table | None:
    """The table that counts for this GPU, or None; read once."""
    if gpu not in _tables:
        _tables[gpu] = _found(gpu)
    return _tables[gpu]


def install(gpu: Gpu, table: Table | None) -> None:
    """From now on this table counts for the GPU: while it is being measured."""
    _tables[gpu] = table


def path_of(gpu: Gpu) -> Path:
    return FOLDER / f"{gpu.slug}.json"


def _found(gpu: Gpu) -> Table | None:
    path = path_of(gpu)
    if gpu.arch == 0:
        return None
    if not path.exists():
        _log.info("a heuristic chooses launch configurations: %s has no table yet, `tessella tune` makes one", gpu.name)
        return None
    try:
        return _read(path, gpu)
    except (OSError, ValueError) as error:
        warnings.warn(f"{path.name} is ignored, a heuristic chooses launch configurations: {error}", stacklevel=2)
        return None


def empty(gpu: Gpu) -> Table:
    """A table to fill for this GPU, with the installed triton and these sources."""
    return Table(gpu.name, triton_version(), source_hash())


def triton_version() -> str:
    return installed_version("triton") or "none"


@cache
def source_hash() -> str:
    """Of the kernels' sources."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _read(path: Path, gpu: Gpu) -> Table:
    document = json.loads(path.read_text())
    if not isinstance(document, dict) or set(document) | {"buckets"} != set(_DOCUMENT):
        raise TableError("it is not a table of configurations")
    table = Table(**document)
    for what, found, wanted in (
        ("GPU", table.gpu, gpu.name),
        ("triton version", table.triton, triton_version()),
        ("kernel sources", table.sources, source_hash()),
    ):
        if found != wanted:
            raise TableError(f"measured with {what} {found}, here it is {wanted}")
    if not isinstance(table.entries, dict) or not isinstance(table.choices, dict):
        raise TableError("its entries or choices are no objects")
    for name, entry in table.entries.items():
        if not _is_configuration(entry):
            raise TableError(f"entry {name!r} is not a launch configuration")
    for name, choice in table.choices.items():
        if choice not in _CHOICES:
            raise TableError(f"choice {name!r} is {choice!r}, not one of {', '.join(sorted(_CHOICES))}")
    if not _are_buckets(table.buckets):
        raise TableError(f"its buckets are {table.buckets!r}, not ascending sizes of batch")
    return table


def _are_buckets(sizes: object) -> bool:
    return (
        isinstance(sizes, list)
        and all(type(size) is int and size > 0 for size in sizes)
        and all(less < more for less, more in pairwise(sizes))
    )


def _is_configuration(entry: object) -> bool:
    if not isinstance(entry, dict) or not {"block_m", "block_n"} <= set(entry) <= _NUMBERS | _FLAGS:
        return False
    return all(type(value) is (bool if name in _FLAGS else int) for name, value in entry.items())

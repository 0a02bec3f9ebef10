"""Tables of measured launch configurations, one JSON file per GPU: loading, validation, lookup, saving.

A table is valid only for the GPU, the triton version and the kernel sources it was measured with. One that is stale or
unreadable is ignored with a warning that names it.
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
"""Folder of the kernels: their source decides how fast a launch configuration is."""

_NUMBERS = {"block_m", "block_n", "block_k", "num_warps", "num_stages", "split_k", "group_m"}
_FLAGS = {"pdl"}
_DOCUMENT = ("gpu", "triton", "sources", "entries", "choices", "buckets")
_CHOICES = {"triton", "torch", "ahead", "overlapped"}
_log = logging.getLogger(__name__)

_tables: dict[Gpu, "Table | None"] = {}


class TableError(ValueError):
    """A table of launch configurations is stale or malformed."""


@dataclass(slots=True)
class Table:
    """Measurements on one GPU.

    Attributes:
        gpu, triton, sources: GPU name, triton version and hash of the kernel sources that it is valid for.
        entries: launch configurations by `entry_key`.
        choices: by `entry_key`, the faster implementation of a composite, `triton` or `torch`; for the inner blocks of
            a TNT the faster schedule, `ahead` or `overlapped`.
        buckets: batch sizes that get a CUDA graph of their own, ascending; empty: powers of two. `tessella tune` does
            not write them: the batch sizes it tunes for are too far apart, and batches would be padded to several
            times their size.
    """

    gpu: str
    triton: str
    sources: str
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the file atomically, through a temporary file beside it."""
        document = {name: getattr(self, name) for name in _DOCUMENT}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        draft.replace(path)


def entry_key(operator: str, rows: int, columns: int, depth: int, dtype: torch.dtype, detail: str = "none") -> str:
    """Key of an entry: the operator, its shape and dtype, and a detail such as its activation."""
    return f"{operator} {rows}x{columns}x{depth} {str(dtype).removeprefix('torch.')} {detail}"


def lookup(
    gpu: Gpu, operator: str, rows: int, columns: int, depth: int, dtype: torch.dtype, detail: str
) -> dict[str, Any] | None:
    """Measured configuration of exactly this shape, or None."""
    table = table_for(gpu)
    return None if table is None else table.entries.get(entry_key(operator, rows, columns, depth, dtype, detail))


def measured_choice(gpu: Gpu, composite: str, rows: int, dim: int, dtype: torch.dtype) -> str | None:
    """Faster choice measured for a composite at this shape, or None where none was measured."""
    table = table_for(gpu)
    return None if table is None else table.choices.get(entry_key(composite, rows, dim, 0, dtype))


def batch_buckets(gpu: Gpu) -> tuple[int, ...]:
    """Batch sizes from the GPU's table, ascending; empty where it has none."""
    table = table_for(gpu)
    return () if table is None else tuple(table.buckets)


def prefers_torch(gpu: Gpu, dtype: torch.dtype) -> bool:
    """True where any composite of this dtype was measured faster in PyTorch."""
    table = table_for(gpu)
    kind = f" {str(dtype).removeprefix('torch.')} "
    return table is not None and any(kind in name and choice == "torch" for name, choice in table.choices.items())


def describe_tuning(gpu: Gpu) -> str:
    """Source of the launch configurations, as a clause for logs and `tessella doctor`."""
    if (table := table_for(gpu)) is not None:
        return f"launch configurations as measured on {gpu.name} with triton {table.triton}"
    return f"launch configurations by a heuristic, as none were measured on {gpu.name} with triton {triton_version()}"


def table_for(gpu: Gpu) -> Table | None:
    """The valid table of this GPU, or None; loaded once."""
    if gpu not in _tables:
        _tables[gpu] = _load(gpu)
    return _tables[gpu]


def set_table(gpu: Gpu, table: Table | None) -> None:
    """Use this table for the GPU from now on: while it is being measured."""
    _tables[gpu] = table


def table_path(gpu: Gpu) -> Path:
    """Path of the GPU's table."""
    return FOLDER / f"{gpu.slug}.json"


def new_table(gpu: Gpu) -> Table:
    """An empty table for this GPU, the installed triton and the present kernel sources."""
    return Table(gpu.name, triton_version(), source_hash())


def triton_version() -> str:
    """Version of the installed triton, or `none`."""
    return installed_version("triton") or "none"


@cache
def source_hash() -> str:
    """Hash of the kernels' sources."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _load(gpu: Gpu) -> Table | None:
    path = table_path(gpu)
    if gpu.arch == 0:
        return None
    if not path.exists():
        _log.info("launch configurations by a heuristic: %s has no table yet; `tessella tune` writes one", gpu.name)
        return None
    try:
        return _read(path, gpu)
    except (OSError, ValueError) as error:
        warnings.warn(f"{path.name} is ignored; launch configurations by a heuristic: {error}", stacklevel=2)
        return None


def _read(path: Path, gpu: Gpu) -> Table:
    document = json.loads(path.read_text())
    if not isinstance(document, dict) or set(document) | {"buckets"} != set(_DOCUMENT):
        raise TableError("it is not a table of launch configurations")
    table = Table(**document)
    _check_validity(table, gpu)
    _check_contents(table)
    return table


def _check_validity(table: Table, gpu: Gpu) -> None:
    for what, measured, present in (
        ("GPU", table.gpu, gpu.name),
        ("triton version", table.triton, triton_version()),
        ("kernel sources", table.sources, source_hash()),
    ):
        if measured != present:
            raise TableError(f"measured with {what} {measured}, here it is {present}")


def _check_contents(table: Table) -> None:
    if not isinstance(table.entries, dict) or not isinstance(table.choices, dict):
        raise TableError("its entries or choices are not JSON objects")
    for name, entry in table.entries.items():
        if not _is_configuration(entry):
            raise TableError(f"entry {name!r} is not a launch configuration")
    for name, choice in table.choices.items():
        if choice not in _CHOICES:
            raise TableError(f"choice {name!r} is {choice!r}, not one of {', '.join(sorted(_CHOICES))}")
    if not _are_buckets(table.buckets):
        raise TableError(f"its buckets are {table.buckets!r}, not ascending batch sizes")


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

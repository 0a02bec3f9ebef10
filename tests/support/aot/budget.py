"""Ahead-of-time compilation of all launches without a GPU; a program, as it cannot share a process with tests.

`python -m tests.support.aot.budget 80 90` prints a JSON line per kernel compiled for sm_80 and sm_90: its resources,
and counts of instructions in its PTX. `--table FILE` compiles a GPU's table of measured configurations instead.
`--write` writes those numbers to budget.json as the budget of the installed version of triton.
"""

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "0"

from tessella.kernels.tuning.tables import Table, triton_version

from .compiler import bind, compile_launch, label
from .launches import GPUS, Launch, heuristic_launches, table_launches

BUDGET = Path(__file__).with_name("budget.json")
COLUMNS = ("registers", "spills", "shared")
"""Columns of an entry in the budget."""


def compiled(launches: list[Launch], arch: int) -> Iterator[dict[str, Any]]:
    """Compile one launch of each label; `variants`: the number of kernels that Triton would cache for the label."""
    groups = defaultdict(list)
    for launch in launches:
        groups[label(launch)].append(launch)
    for group in groups.values():
        yield compile_launch(group[-1], arch) | {"variants": len({str(bind(launch, arch).key) for launch in group})}


def write_budget(rows: list[dict[str, Any]]) -> None:
    """Replace the budget's entries for these rows' architectures and the installed version of triton."""
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    entries = budget.setdefault(release(triton_version()), {})
    for arch in sorted({row["arch"] for row in rows}):
        entries[str(arch)] = {row["label"]: [row[name] for name in COLUMNS] for row in rows if row["arch"] == arch}
    BUDGET.write_text(_compact(budget))


def release(version: str) -> str:
    """Release of a version: `3.7` of `3.7.1`."""
    return ".".join(version.split(".")[:2])


def _compact(budget: dict[str, dict[str, dict[str, list[int]]]]) -> str:
    """JSON with one line per entry, for readable diffs."""
    versions = []
    for version, archs in sorted(budget.items()):
        groups = []
        for arch, entries in sorted(archs.items(), key=lambda item: int(item[0])):
            lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(entries.items())]
            groups.append(f'"{arch}": ' + _braces(lines, 3))
        versions.append(f'"{version}": ' + _braces(groups, 2))
    return _braces(versions, 1) + "\n"


def _braces(lines: list[str], depth: int) -> str:
    indent = " " * depth
    return "{\n" + ",\n".join(indent + line for line in lines) + "\n" + indent[1:] + "}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archs", type=int, nargs="*", help="compute capabilities  [all]")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        table = Table(**json.loads(arguments.table.read_text()))
        arch = next(arch for arch, gpu in GPUS.items() if gpu.name == table.gpu)
        for row in compiled(table_launches(table), arch):
            print(json.dumps(row), flush=True)
        return
    rows = []
    for arch in arguments.archs or GPUS:
        for row in compiled(heuristic_launches(arch), arch):
            print(json.dumps(row), flush=True)
            rows.append(row)
    if arguments.write:
        write_budget(rows)


if __name__ == "__main__":
    main()

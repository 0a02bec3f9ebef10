"""Prints what tessella needs with some of its extras, one a line: `requirements.py torch,onnx pyproject.toml`.

Runs with nothing installed, before the wheel is built: so an image's packages lie in a layer that only they change.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OURSELVES = re.compile(r"tessella\[(?P<extras>[^\]]+)\]")


def requirements(project: dict[str, Any], extras: list[str]) -> Iterator[str]:
    """Those of the project itself, then those of its extras, which may name each other.

    Raises:
        KeyError: there is no such extra.
    """
    yield from project["dependencies"]
    for extra in extras:
        yield from _of_extra(project["optional-dependencies"], extra)


def _of_extra(optional: dict[str, list[str]], extra: str) -> Iterator[str]:
    for requirement in optional[extra]:
        if found := _OURSELVES.fullmatch(requirement):
            for other in found["extras"].split(","):
                yield from _of_extra(optional, other)
        else:
            yield requirement


if __name__ == "__main__":
    wanted, file = sys.argv[1:]
    print(*requirements(tomllib.loads(Path(file).read_text())["project"], wanted.split(",")), sep="\n")

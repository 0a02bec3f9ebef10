"""Writes what tessella needs into a folder, a file for each extra: `requirements.py pyproject.toml folder`.

`base.txt` is what it needs without extras. Runs with nothing installed, before the wheel is built: so an image's
packages lie in a layer that only they change.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_OURSELVES = re.compile(r"tessella\[(?P<extras>[^\]]+)\]")


def requirements(optional: dict[str, list[str]], extra: str) -> Iterator[str]:
    """Those of an extra and of the extras that it names.

    Raises:
        KeyError: there is no such extra.
    """
    for requirement in optional[extra]:
        if found := _OURSELVES.fullmatch(requirement):
            for other in found["extras"].split(","):
                yield from requirements(optional, other)
        else:
            yield requirement


def write(file: Path, folder: Path) -> None:
    project = tomllib.loads(file.read_text())["project"]
    optional = project["optional-dependencies"]
    folder.mkdir(parents=True)
    wanted = {extra: list(requirements(optional, extra)) for extra in optional}
    for name, lines in (wanted | {"base": project["dependencies"]}).items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))

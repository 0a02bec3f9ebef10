"""Requirements files of tessella's extras: `requirements.py pyproject.toml folder` writes `<extra>.txt` for each.

`base.txt` has the dependencies without extras. Needs no packages, and runs before the wheel is built: dependencies are
installed in an image layer of their own.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_OWN_EXTRAS = re.compile(r"tessella\[(?P<extras>[^\]]+)\]")


def requirements(optional: dict[str, list[str]], extra: str) -> Iterator[str]:
    """Requirements of an extra, with those of other extras of tessella that it names.

    Raises:
        KeyError: there is no such extra.
    """
    for requirement in optional[extra]:
        if own := _OWN_EXTRAS.fullmatch(requirement):
            for other in own["extras"].split(","):
                yield from requirements(optional, other)
        else:
            yield requirement


def write(pyproject: Path, folder: Path) -> None:
    """Create the folder and write a file for each extra."""
    project = tomllib.loads(pyproject.read_text())["project"]
    optional = project["optional-dependencies"]
    folder.mkdir(parents=True)
    files = {extra: list(requirements(optional, extra)) for extra in optional}
    for name, lines in (files | {"base": project["dependencies"]}).items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))

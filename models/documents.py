"""Parts of the README that are made of the code: each stands between two markers and is written by a module."""

import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def replace_part(text: str, name: str, part: str) -> str:
    """A document with what stands between `<!-- name -->` and `<!-- /name -->` replaced.

    Raises:
        ValueError: the markers are not there.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the document has no lines {first} and {last} for the table to stand between")
    return f"{before}{first}\n{part}\n{last}{after}"


def write_part(name: str, part: str) -> None:
    """Makes the part current in the document that the command line names; default: the README."""
    document = Path(sys.argv[1]) if len(sys.argv) > 1 else README
    document.write_text(replace_part(document.read_text("utf-8"), name, part), "utf-8")

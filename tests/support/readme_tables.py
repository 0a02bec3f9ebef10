"""Tables of the pages below `docs/`, from code and committed measurements: `python -m tests.support.readme_tables`.

Each table stands between two markers, `<!-- name -->` and `<!-- /name -->`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from tessella.models.costs import gmacs, parameters
from tessella.models.variants import VARIANTS
from tessella.server.settings import PREFIX, Settings

from .architecture_tables import ROOT, file_tables
from .published_families import FAMILIES

DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
_OURS = "tessella"

Document = dict[str, Any]
Row = dict[str, Any]


def main() -> None:
    """Update every table of every page."""
    for page, parts in tables().items():
        text = page.read_text("utf-8")
        for name, table in parts.items():
            text = replace_part(text, name, table)
        page.write_text(text, "utf-8")


def tables() -> dict[Path, dict[str, str]]:
    """Tables in Markdown, by page and by the name of their markers."""
    return {
        DOCS / "architecture.md": file_tables(),
        DOCS / "models.md": {"families": families_table()},
        DOCS / "performance.md": {"networks on a CPU": cpu_tables(cpu_measurements())},
        DOCS / "settings.md": {"settings": settings_table()},
    }


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


def families_table() -> str:
    """A row for each published family: its networks, their parameters and multiply-accumulates."""
    lines = ["| family | checkpoints of | architectures | parameters (M) | GMACs |", "|---|---|---|---|---|"]
    for family in FAMILIES:
        configs = [VARIANTS[name] for name in family.architectures]
        names = ", ".join(f"`{name}`" for name in family.architectures)
        sizes = _span(sorted(parameters(config) / 1e6 for config in configs))
        costs = _span(sorted(gmacs(config) for config in configs))
        lines.append(f"| {family.title} | {family.checkpoints} | {names} | {sizes} | {costs} |")
    return "\n".join(lines)


def _span(values: list[float]) -> str:
    first, last = f"{values[0]:.1f}", f"{values[-1]:.1f}"
    return first if first == last else f"{first} – {last}"


def settings_table() -> str:
    """A row for each setting, in the order of the class."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{PREFIX}{name.upper()}` | {_default(field)} | {_meaning(field)} |")
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, float):
        value = f"{value:g}"
    return f"`{value}`" if value not in (None, "", {}) else ""


def _meaning(field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if get_origin(field.annotation) is dict:
        return f"{field.description}; in JSON, or as a table of the file"
    listed = f" ({', '.join(choices)})" if choices else ""
    return f"{field.description}{listed}".replace("|", "\\|")


def cpu_measurements(folder: Path = RESULTS) -> list[Document]:
    """Committed results of `tessella bench models --device cpu`, one for each machine."""
    found = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*/models.json"))]
    return [document for document in found if document.get("on") == "cpu"]


def cpu_tables(measured: list[Document]) -> str:
    """A table for each machine, a caption before it."""
    if not measured:
        return "No machine has been measured yet: `tessella bench models --device cpu`."
    return "\n\n".join(f"{_caption(document)}\n\n{_speeds(document)}" for document in measured)


def _caption(document: Document) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    spread = max(row["spread"] for row in document["rows"])
    return (
        f"{document['device']}, {document['threads']} threads, torch {document['torch']}, {versions}, "
        f"{document['date'][:10]}. Medians of rounds in turns, "
        f"half the distance between quartiles at most {spread:.0%}."
    )


def _speeds(document: Document) -> str:
    rows: list[Row] = document["rows"]
    networks = list(dict.fromkeys(row["architecture"] for row in rows))
    sizes = sorted({row["batch_size"] for row in rows})
    candidates = sorted(dict.fromkeys(row["candidate"] for row in rows), key=lambda name: name.startswith(_OURS))
    cells = {(row["architecture"], row["batch_size"], row["candidate"]): row for row in rows}

    def line(title: str, show: Callable[[str, int], str]) -> str:
        return f"| {title} | {' | '.join(' / '.join(show(network, size) for size in sizes) for network in networks)} |"

    def best(network: str, size: int) -> Row:
        ours = [row for (n, s, name), row in cells.items() if (n, s) == (network, size) and name.startswith(_OURS)]
        return max(ours, key=lambda row: row["images_per_second"])

    def speed(candidate: str) -> Callable[[str, int], str]:
        def show(network: str, size: int) -> str:
            row = cells.get((network, size, candidate))
            return "–" if row is None else f"{row['images_per_second']:.1f}"

        return show

    return "\n".join(
        [
            f"| images/s at batch {' / '.join(map(str, sizes))} | {' | '.join(f'`{name}`' for name in networks)} |",
            "|---" * (1 + len(networks)) + "|",
            *(line(candidate.replace(" ", ", "), speed(candidate)) for candidate in candidates),
            line("**tessella's fastest ÷ timm's fastest**", lambda *cell: f"**{best(*cell)['ratio']:.2f}**"),
            line("its part of the matrix rate", lambda *cell: f"{best(*cell)['of_matrix_rate']:.0%}"),
        ]
    )


if __name__ == "__main__":
    main()

"""What `tessella bench models` measured on CPUs, as the README shows it; committed documents are its source.

`python -m tessella.benchmarks.models_table` writes it between the README's markers.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..models.documents import write_part

PART = "fast on a CPU"
RESULTS = Path(__file__).parent / "results"
_OURS = "tessella"

Document = dict[str, Any]
Row = dict[str, Any]


def documents(folder: Path = RESULTS) -> list[Document]:
    """Of every CPU that was measured."""
    found = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*/models.json"))]
    return [document for document in found if document.get("on") == "cpu"]


def render(measured: list[Document]) -> str:
    """The tables in Markdown, a caption before each."""
    if not measured:
        return "No machine has been measured yet: `tessella bench models --device cpu`."
    return "\n\n".join(f"{_caption(document)}\n\n{_table(document)}" for document in measured)


def _caption(document: Document) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    spread = max(row["spread"] for row in document["rows"])
    return (
        f"{document['device']}, {document['threads']} threads, torch {document['torch']}, {versions}, "
        f"{document['date'][:10]}. Medians of rounds in turns, "
        f"half the distance between quartiles at most {spread:.0%}."
    )


def _table(document: Document) -> str:
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
    write_part(PART, render(documents()))

"""Colours that colour-blind people tell apart, and the figure that all pictures are drawn on. Needs no display."""

from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

SUFFIXES: Final = (".png", ".svg", ".pdf")
MAP: Final = "viridis"
DIVERGING: Final = "cividis"
OKABE_ITO: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS: Final = "os^DvPX*<>"
BLUE, ORANGE, GREEN, VERMILLION, GREY = OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[2], OKABE_ITO[5], "#666666"
_TEXT: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tessella",
}


def styled() -> Any:
    """A context in which figures are made and saved."""
    return rc_context(_TEXT)


def figure(width: float, height: float) -> Figure:
    """In inches. Made without pyplot: nothing is shown, nothing stays open."""
    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def check_suffix(path: Path) -> None:
    """Raises ValueError where pictures are not written under such a name."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path.name}: pictures are written as {', '.join(SUFFIXES)}")


def save(drawn: Figure, path: Path) -> None:
    """In the format of the suffix; without a date, so the same picture is the same file."""
    options: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if path.suffix.lower() == ".png" else {}
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    drawn.savefig(path, metadata=metadata, **options)

"""Figure style shared by all plots: a colour-blind-safe palette, no display, reproducible files."""

from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

SUFFIXES: Final = (".png", ".svg", ".pdf")
COLORMAP: Final = "viridis"
DIVERGING_COLORMAP: Final = "cividis"
OKABE_ITO: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS: Final = "os^DvPX*<>"
BLUE, ORANGE, GREEN, VERMILLION, GREY = OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[2], OKABE_ITO[5], "#666666"
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tessella",
}


def styled() -> Any:
    """Context manager: matplotlib settings in which figures are made and saved."""
    return rc_context(_STYLE)


def figure(width: float, height: float) -> Figure:
    """Figure of this size in inches, made without pyplot: it needs no display and is not kept open."""
    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def check_suffix(path: Path) -> None:
    """Raises ValueError unless the suffix is one of SUFFIXES."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path.name}: figures are written as {', '.join(SUFFIXES)}")


def save(drawn: Figure, path: Path) -> None:
    """Save in the format of the suffix, without a date, so that equal figures are equal files."""
    options: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if path.suffix.lower() == ".png" else {}
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    drawn.savefig(path, metadata=metadata, **options)

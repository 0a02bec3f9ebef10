"""The document of `tessella bench models` as a picture: every candidate's speed beside the fastest of timm's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .service_plot import PlotUnavailable

if TYPE_CHECKING:  # an extra: what cannot be drawn must not stop what was measured
    from matplotlib.axes import Axes

_OURS, _THEIRS = "#0b6e4f", "#9a9a9a"


def draw(document: dict[str, Any], path: Path) -> None:
    """Writes a picture; its format by the suffix: .png, .svg, .pdf. A panel for each network and size of batch.

    Raises:
        PlotUnavailable: matplotlib is not installed.
        ValueError: the suffix is not a picture's.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotUnavailable("no plot: matplotlib is not installed; pip install 'tessella[bench]'") from error
    cells: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in document["rows"]:
        cells.setdefault((row["architecture"], row["batch_size"]), []).append(row)
    sizes = sorted({size for _, size in cells})
    networks = list(dict.fromkeys(network for network, _ in cells))
    figure = Figure(figsize=(6.5 * len(sizes), 3.4 * len(networks)), layout="constrained")
    panels = figure.subplots(len(networks), len(sizes), squeeze=False)
    for (network, size), rows in cells.items():
        axes = panels[networks.index(network)][sizes.index(size)]
        axes.set_title(f"{network}, batch {size}", fontsize=10)
        _draw_ratios(axes, rows)
    figure.suptitle(f"{document['device']}, {document['threads']} threads: images/s, as a multiple of timm's fastest")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_ratios(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    ordered = sorted(rows, key=lambda row: -row["ratio"])
    colours = [_OURS if row["candidate"].startswith("tessella") else _THEIRS for row in ordered]
    bars = axes.barh([row["candidate"] for row in ordered], [row["ratio"] for row in ordered], color=colours)
    axes.bar_label(bars, [f"{row['images_per_second']:.1f}/s" for row in ordered], fontsize=7, padding=2)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.15)

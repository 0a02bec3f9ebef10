"""The document of `tessella bench kernels` as a picture: how near each operator comes to its floor, by provider."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .service_plot import PlotUnavailable as PlotUnavailable

if TYPE_CHECKING:  # an extra: what cannot be drawn must not stop what was measured
    from matplotlib.axes import Axes

_COLOURS = {"triton": "#0b6e4f", "torch": "#9a9a9a", "compiled": "#edae49", "max-autotune": "#d1495b"}


def draw(document: dict[str, Any], path: Path) -> None:
    """Writes a picture; its format by the suffix: .png, .svg, .pdf. A row per network: the least and the largest batch.

    Raises:
        PlotUnavailable: matplotlib is not installed.
        ValueError: the document has no rows, or the suffix is not a picture's.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotUnavailable("no plot: matplotlib is not installed; pip install 'tessella[bench]'") from error
    rows = document["rows"]
    if not rows:
        raise ValueError("there is nothing to plot: no operator was measured")
    networks = list(dict.fromkeys(row["architecture"] for row in rows))
    batches = sorted({row["batch"] for row in rows})
    shown = batches if len(batches) == 1 else [batches[0], batches[-1]]
    figure = Figure(figsize=(8 * len(shown), 3.6 * len(networks)), layout="constrained")
    panels = figure.subplots(len(networks), len(shown), squeeze=False)
    for line, network in zip(panels, networks, strict=True):
        for axes, batch in zip(line, shown, strict=True):
            axes.set_title(f"{network} at batch {batch}: floor ÷ time", fontsize=9)
            _draw_bars(axes, [row for row in rows if (row["architecture"], row["batch"]) == (network, batch)])
    figure.suptitle(f"{document['device']}, {document['date'][:10]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_bars(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(row["operator"] for row in rows))
    providers = [provider for provider in _COLOURS if any(row["provider"] == provider for row in rows)]
    width = 0.8 / max(1, len(providers))
    for place, provider in enumerate(providers):
        own = [row for row in rows if row["provider"] == provider]
        offset = (place - (len(providers) - 1) / 2) * width
        axes.bar(
            [names.index(row["operator"]) + offset for row in own],
            [100 * row["roofline"] for row in own],
            width,
            color=_COLOURS[provider],
            label=provider,
        )
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    axes.set_ylabel("% of the floor")
    if providers:
        axes.legend(fontsize=7)

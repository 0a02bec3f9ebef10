"""The document of `tessella bench service` as a picture: throughput, latency and where the time went, by load."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .latency import PERCENTILES

if TYPE_CHECKING:  # an extra: what cannot be drawn must not stop what was measured
    from matplotlib.axes import Axes

_COLOURS = {"tessella": "#0b6e4f", "bare loop": "#9a9a9a", "fastapi": "#d1495b", "litserve": "#edae49"}
_STAGES = {"decode": "#4c78a8", "queue": "#bab0ac", "inference": "#0b6e4f", "rest": "#f2cf5b", "outside": "#e7e7e7"}


class PlotUnavailable(ImportError):
    """matplotlib is not installed."""


def draw(document: dict[str, Any], path: Path) -> None:
    """Writes a picture; its format by the suffix: .png, .svg, .pdf. A row of three panels for each size and mode.

    Raises:
        PlotUnavailable: matplotlib is not installed.
        ValueError: the document has no rows, or the suffix is not a picture's.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotUnavailable("no plot: matplotlib is not installed; pip install 'tessella[bench]'") from error
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in document["rows"]:
        groups.setdefault((row["size"], row["mode"]), []).append(row)
    if not groups:
        raise ValueError("there is nothing to plot: no load was measured, only scenarios")
    figure = Figure(figsize=(15, 4.2 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 3, squeeze=False)
    for (throughput, latency, stages), ((size, mode), rows) in zip(panels, groups.items(), strict=True):
        throughput.set_title(f"{size}, {mode} loop: images/s")
        _draw_throughput(throughput, rows)
        _draw_latency(latency, rows)
        _draw_stages(stages, rows)
    figure.suptitle(f"{document['parameters']['architecture']} on {document['device']}, {document['date'][:10]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_throughput(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    loads = _unique(row["load"] for row in rows)
    servers = _unique(row["server"] for row in rows)
    width = 0.8 / len(servers)
    for row in rows:
        place = loads.index(row["load"]) + (servers.index(row["server"]) - (len(servers) - 1) / 2) * width
        least, most = min(row["rounds"]), max(row["rounds"])
        reach = [[max(0.0, row["throughput"] - least)], [max(0.0, most - row["throughput"])]]
        first = row["load"] == loads[0]
        label = row["server"] if first else None
        axes.bar(place, row["throughput"], width, yerr=reach, capsize=2, color=_colour(row), label=label)
    axes.set_xticks(range(len(loads)), [_load(row) for row in _first_of_each(rows)])
    axes.legend(fontsize=8)


def _draw_latency(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    heaviest = rows[-1]["load"]
    names = [f"p{percentile:g}" for percentile in PERCENTILES]
    for row in rows:
        if row["load"] == heaviest:
            known = [(place, row["latency_ms"][name]) for place, name in enumerate(names) if row["latency_ms"][name]]
            if known:
                axes.plot(*zip(*known, strict=True), marker="o", color=_colour(row), label=row["server"])
    axes.set_xticks(range(len(names)), names)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_title(f"latency in ms, {_load(rows[-1])}")
    if axes.lines:
        axes.legend(fontsize=8)


def _draw_stages(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    timed = [row for row in rows if row["stages_ms"]]
    for place, row in enumerate(timed):
        left = 0.0
        for stage, colour in _STAGES.items():
            share = max(0.0, row["stages_ms"].get(stage, 0.0))
            axes.barh(place, share, left=left, color=colour, label=stage if not place else None)
            left += share
    axes.set_yticks(range(len(timed)), [f"{row['server']}, {_load(row)}" for row in timed], fontsize=8)
    axes.invert_yaxis()
    axes.set_title("where the time went: mean ms")
    if timed:
        axes.legend(fontsize=8)


def _colour(row: dict[str, Any]) -> str:
    return _COLOURS.get(row["server"], "#4c78a8")


def _first_of_each(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({row["load"]: row for row in reversed(rows)}.values())[::-1]


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def _load(row: dict[str, Any]) -> str:
    return f"{row['load']:g} {'clients' if row['mode'] == 'closed' else '/s'}"

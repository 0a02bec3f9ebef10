"""Plots of the documents of `tessella bench`; the suffix of the path sets the format: .png, .svg or .pdf.

Every function raises `PlotUnavailable` where matplotlib is not installed, and `ValueError` where the document has no
rows or the suffix is unknown.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .timing import PERCENTILES

if TYPE_CHECKING:  # an optional package
    from matplotlib.axes import Axes

_GREEN, _GRAY, _RED, _YELLOW, _BLUE = "#0b6e4f", "#9a9a9a", "#d1495b", "#edae49", "#4c78a8"
_PROVIDERS = {"triton": _GREEN, "torch": _GRAY, "compiled": _YELLOW, "max-autotune": _RED}
_SERVERS = {"tessella": _GREEN, "bare loop": _GRAY, "fastapi": _RED, "litserve": _YELLOW}
_STAGES = {"decode": _BLUE, "queue": "#bab0ac", "inference": _GREEN, "rest": "#f2cf5b", "outside": "#e7e7e7"}

Row = dict[str, Any]


class PlotUnavailable(ImportError):
    """matplotlib is not installed."""


def draw_kernels(document: dict[str, Any], path: Path) -> None:
    """Plot each operator as a percentage of its roofline, by provider: a row of panels per network, two batch sizes."""
    cells = _grouped(document["rows"], "architecture", "batch")
    networks, batches = _unique(network for network, _ in cells), sorted({batch for _, batch in cells})
    shown = _unique([*batches[:1], *batches[-1:]])
    title = f"{document['device']}, {document['date'][:10]}"
    with _figure(path, len(networks), len(shown), (8, 3.6), title, "no operator was measured") as panels:
        for line, network in zip(panels, networks, strict=True):
            for axes, batch in zip(line, shown, strict=True):
                axes.set_title(f"{network} at batch {batch}: % of roofline", fontsize=9)
                _draw_operators(axes, cells.get((network, batch), []))


def draw_models(document: dict[str, Any], path: Path) -> None:
    """Plot the speed of every candidate relative to timm's fastest: a panel per network and batch size."""
    cells = _grouped(document["rows"], "architecture", "batch_size")
    networks, sizes = _unique(network for network, _ in cells), sorted({size for _, size in cells})
    title = f"{document['device']}, {document['threads']} threads: images/s, as a multiple of timm's fastest"
    with _figure(path, len(networks), len(sizes), (6.5, 3.4), title, "no network was measured") as panels:
        for (network, size), rows in cells.items():
            axes = panels[networks.index(network)][sizes.index(size)]
            axes.set_title(f"{network}, batch {size}", fontsize=10)
            _draw_ratios(axes, rows)


def draw_service(document: dict[str, Any], path: Path) -> None:
    """Plot throughput, latency and time per stage, by load: three panels per image size and mode."""
    groups = _grouped(document["rows"], "size", "mode")
    title = f"{document['parameters']['architecture']} on {document['device']}, {document['date'][:10]}"
    with _figure(path, len(groups), 3, (5, 4.2), title, "no load was measured, only scenarios") as panels:
        for (throughput, latency, stages), ((size, mode), rows) in zip(panels, groups.items(), strict=True):
            throughput.set_title(f"{size}, {mode} loop: images/s")
            _draw_throughput(throughput, rows)
            _draw_latency(latency, rows)
            _draw_stages(stages, rows)


@contextmanager
def _figure(
    path: Path, rows: int, columns: int, panel: tuple[float, float], title: str, empty_reason: str
) -> Iterator[list[list["Axes"]]]:
    """Context manager: the panels of a figure, saved on exit. `panel`: width and height of each, in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotUnavailable("no plot: matplotlib is not installed; pip install 'tessella[bench]'") from error
    if not rows:
        raise ValueError(f"there is nothing to plot: {empty_reason}")
    figure = Figure(figsize=(panel[0] * columns, panel[1] * rows), layout="constrained")
    figure.suptitle(title)
    yield figure.subplots(rows, columns, squeeze=False).tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _draw_operators(axes: "Axes", rows: list[Row]) -> None:
    names = _unique(row["operator"] for row in rows)
    providers = [provider for provider in _PROVIDERS if any(row["provider"] == provider for row in rows)]
    width = 0.8 / max(1, len(providers))
    for index, provider in enumerate(providers):
        selected = [row for row in rows if row["provider"] == provider]
        offset = (index - (len(providers) - 1) / 2) * width
        positions = [names.index(row["operator"]) + offset for row in selected]
        heights = [100 * row["roofline"] for row in selected]
        axes.bar(positions, heights, width, color=_PROVIDERS[provider], label=provider)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    axes.set_ylabel("% of roofline")
    if providers:
        axes.legend(fontsize=7)


def _draw_ratios(axes: "Axes", rows: list[Row]) -> None:
    ordered = sorted(rows, key=lambda row: -row["ratio"])
    colours = [_GREEN if row["candidate"].startswith("tessella") else _GRAY for row in ordered]
    bars = axes.barh([row["candidate"] for row in ordered], [row["ratio"] for row in ordered], color=colours)
    axes.bar_label(bars, [f"{row['images_per_second']:.1f}/s" for row in ordered], fontsize=7, padding=2)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.15)


def _draw_throughput(axes: "Axes", rows: list[Row]) -> None:
    loads = _unique(row["load"] for row in rows)
    servers = _unique(row["server"] for row in rows)
    width = 0.8 / len(servers)
    for row in rows:
        position = loads.index(row["load"]) + (servers.index(row["server"]) - (len(servers) - 1) / 2) * width
        low, high = min(row["rounds"]), max(row["rounds"])
        error_bar = [[max(0.0, row["throughput"] - low)], [max(0.0, high - row["throughput"])]]
        label = row["server"] if row["load"] == loads[0] else None
        axes.bar(position, row["throughput"], width, yerr=error_bar, capsize=2, color=_colour(row), label=label)
    axes.set_xticks(range(len(loads)), [_load(row) for row in _first_of_each_load(rows)])
    axes.legend(fontsize=8)


def _draw_latency(axes: "Axes", rows: list[Row]) -> None:
    heaviest = rows[-1]["load"]
    names = [f"p{percentile:g}" for percentile in PERCENTILES]
    for row in rows:
        if row["load"] == heaviest:
            latency = row["latency_ms"]
            points = [(position, latency[name]) for position, name in enumerate(names) if latency[name]]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", color=_colour(row), label=row["server"])
    axes.set_xticks(range(len(names)), names)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_title(f"latency in ms, {_load(rows[-1])}")
    if axes.lines:
        axes.legend(fontsize=8)


def _draw_stages(axes: "Axes", rows: list[Row]) -> None:
    timed = [row for row in rows if row["stages_ms"]]
    for position, row in enumerate(timed):
        offset = 0.0
        for stage, colour in _STAGES.items():
            milliseconds = max(0.0, row["stages_ms"].get(stage, 0.0))
            axes.barh(position, milliseconds, left=offset, color=colour, label=None if position else stage)
            offset += milliseconds
    axes.set_yticks(range(len(timed)), [f"{row['server']}, {_load(row)}" for row in timed], fontsize=8)
    axes.invert_yaxis()
    axes.set_title("time per stage: mean ms")
    if timed:
        axes.legend(fontsize=8)


def _colour(row: Row) -> str:
    return _SERVERS.get(row["server"], _BLUE)


def _first_of_each_load(rows: list[Row]) -> list[Row]:
    return list({row["load"]: row for row in reversed(rows)}.values())[::-1]


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _load(row: Row) -> str:
    return f"{row['load']:g} {'clients' if row['mode'] == 'closed' else '/s'}"

"""Terminal tables of the document of `tessella bench service`: servers, rows, stages, ratios, objectives."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

_STAGES = ("decode", "queue", "inference", "rest", "outside")
_BUSY = 0.9


def tables(document: dict[str, Any]) -> Iterator[RenderableType]:
    """Tables of servers, rows, stages, ratios and objectives, each where the document has such data."""
    yield from _servers(document)
    if document["rows"]:
        yield _rows(document)
        yield _stages(document)
    if document["ratios"]:
        yield _ratios(document)
    if document["scenarios"]:
        yield _claims(document)


def _servers(document: dict[str, Any]) -> Iterator[RenderableType]:
    parameters = document["parameters"]
    yield Text(
        f"{parameters['architecture']} {parameters['dtype']}, {document['device']}, {document['threads']} threads, "
        f"maximum batch size {parameters['max_batch_size']}, torch {document['torch']}"
    )
    table = Table(show_header=False, box=None)
    for name, version in document["servers"].items():
        table.add_row(name, Text(version, style="yellow" if version.startswith("not installed") else ""))
    yield table


def _rows(document: dict[str, Any]) -> Table:
    percentiles = "p50", "p95", "p99", "p99.9"
    counts = "accepted", "rejected", "failed"
    busy = any(row["client_cores"] > _BUSY for row in document["rows"])
    caption = "The load generator used a whole core: throughput may be limited by it." if busy else None
    table = Table("load", "server", "images/s", "spread", *(f"{p} ms" for p in percentiles), *counts, caption=caption)
    for row in document["rows"]:
        table.add_row(
            _load(row),
            row["server"],
            f"{row['throughput']:.1f}",
            f"±{row['spread']:.0%}",
            *(_number(row["latency_ms"][percentile]) for percentile in percentiles),
            *(str(row[count]) for count in counts),
        )
    return table


def _stages(document: dict[str, Any]) -> Table:
    table = Table("load", "server", *_STAGES, title="time per stage: mean ms")
    for row in document["rows"]:
        if row["stages_ms"]:
            table.add_row(_load(row), row["server"], *(_number(row["stages_ms"].get(stage)) for stage in _STAGES))
    return table


def _ratios(document: dict[str, Any]) -> Table:
    title = "tessella relative to the others: above 1 it is better"
    table = Table("load", "against", "throughput", "min to max", "p50", "p99", title=title)
    for ratio in document["ratios"]:
        span = "–".join(f"{value:.2f}" for value in ratio.get("range", ()))
        figures = [_number(ratio.get(key), 2) for key in ("throughput", "p50", "p99")]
        table.add_row(_load(ratio), ratio["against"], figures[0], span, *figures[1:])
    return table


def _claims(document: dict[str, Any]) -> Table:
    notes = [_note(name, scenario) for name, scenario in document["scenarios"].items() if "rate" in scenario]
    table = Table("scenario", "objective", "measured", "limit", "", caption="\n".join(notes) or None)
    for name, scenario in document["scenarios"].items():
        for objective in scenario["objectives"]:
            measured = f"{_number(objective['measured'])} ({objective['unit']})"
            result = Text("met", style="green") if objective["met"] else Text("missed", style="red")
            table.add_row(name, objective["objective"], measured, _number(objective["limit"]), result)
    return table


def _note(name: str, scenario: dict[str, Any]) -> str:
    """Lateness of the load generator itself, for which no objective holds."""
    lag = scenario["client_lag_ms"]
    held_back = f"; {scenario['held_back']} requests were held back" if scenario["held_back"] else ""
    late = f"p99 {_number(lag['p99'])} ms, max {_number(lag['max'])} ms"
    return f"{name}: lag of the load generator: {late}{held_back}"


def _load(row: dict[str, Any]) -> str:
    return f"{row['size']}, {row['load']:g} {'clients' if row['mode'] == 'closed' else '/s'}"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

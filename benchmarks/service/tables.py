"""The document of `tessella bench service` for people: tables of rows and ratios, and what scenarios promised."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

_STAGES = ("decode", "queue", "inference", "rest", "outside")
_BUSY = 0.9


def tables(document: dict[str, Any]) -> Iterator[RenderableType]:
    """Servers, rows, where the time went, ratios, scenarios: each where there is something to show."""
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
        f"batches of at most {parameters['max_batch_size']}, torch {document['torch']}"
    )
    made = Table(show_header=False, box=None)
    for name, version in document["servers"].items():
        made.add_row(name, Text(version, style="yellow" if version.startswith("not installed") else ""))
    yield made


def _rows(document: dict[str, Any]) -> Table:
    percentiles = "p50", "p95", "p99", "p99.9"
    counts = "accepted", "rejected", "failed"
    busy = any(row["client_cores"] > _BUSY for row in document["rows"])
    caption = "The client was busy all the time: servers may answer more than it can ask." if busy else None
    made = Table("load", "server", "images/s", "spread", *(f"{p} ms" for p in percentiles), *counts, caption=caption)
    for row in document["rows"]:
        made.add_row(
            _load(row),
            row["server"],
            f"{row['throughput']:.1f}",
            f"±{row['spread']:.0%}",
            *(_number(row["latency_ms"][percentile]) for percentile in percentiles),
            *(str(row[count]) for count in counts),
        )
    return made


def _stages(document: dict[str, Any]) -> Table:
    made = Table("load", "server", *_STAGES, title="where the time went: mean ms")
    for row in document["rows"]:
        if row["stages_ms"]:
            made.add_row(_load(row), row["server"], *(_number(row["stages_ms"].get(stage)) for stage in _STAGES))
    return made


def _ratios(document: dict[str, Any]) -> Table:
    title = "tessella against the others: above 1 it is better"
    made = Table("load", "against", "throughput", "least to most", "p50", "p99", title=title)
    for ratio in document["ratios"]:
        span = "–".join(f"{value:.2f}" for value in ratio.get("range", ()))
        figures = [_number(ratio.get(key), 2) for key in ("throughput", "p50", "p99")]
        made.add_row(_load(ratio), ratio["against"], figures[0], span, *figures[1:])
    return made


def _claims(document: dict[str, Any]) -> Table:
    notes = [_note(name, scenario) for name, scenario in document["scenarios"].items() if "rate" in scenario]
    made = Table("scenario", "promise", "measured", "limit", "", caption="\n".join(notes) or None)
    for name, scenario in document["scenarios"].items():
        for claim in scenario["claims"]:
            measured = f"{_number(claim['measured'])} ({claim['unit']})"
            kept = Text("kept", style="green") if claim["holds"] else Text("broken", style="red")
            made.add_row(name, claim["claim"], measured, _number(claim["limit"]), kept)
    return made


def _note(name: str, scenario: dict[str, Any]) -> str:
    """How late the client was by itself, which no promise of the server's covers."""
    lag = scenario["client_lag_ms"]
    held_back = f"; {scenario['held_back']} requests were held back" if scenario["held_back"] else ""
    late = f"p99 {_number(lag['p99'])} ms, at most {_number(lag['max'])} ms"
    return f"{name}: the client itself sent late, {late}{held_back}"


def _load(row: dict[str, Any]) -> str:
    return f"{row['size']}, {row['load']:g} {'clients' if row['mode'] == 'closed' else '/s'}"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

"""Tables of the service benchmark: only of data that is there, with objectives met and missed."""

import io
from typing import Any

from rich.console import Console

from tessella.benchmarks.service.tables import tables

LATENCY = {"p50": 10.0, "p95": 20.0, "p99": 30.0, "p99.9": None, "max": 40.0}
ROW = {
    "mode": "closed",
    "size": "500x375",
    "load": 8,
    "server": "tessella",
    "throughput": 123.4,
    "spread": 0.05,
    "latency_ms": LATENCY,
    "accepted": 100,
    "rejected": 2,
    "failed": 1,
    "client_cores": 0.5,
    "stages_ms": {"decode": 1.0, "queue": 2.0},
}
EMPTY: dict[str, Any] = {
    "parameters": {"architecture": "vit_a", "dtype": "float32", "max_batch_size": 32},
    "device": "a CPU",
    "threads": 2,
    "torch": "2.9",
    "servers": {"tessella": "0.1", "litserve": "not installed: pip install 'tessella[bench]'"},
    "rows": [],
    "ratios": [],
    "scenarios": {},
}


def text(document: dict[str, Any]) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    for table in tables(document):
        console.print(table)
    return console.export_text()


def test_without_data_only_the_servers_are_shown() -> None:
    assert len(list(tables(EMPTY))) == 2
    assert "maximum batch size 32" in text(EMPTY)
    assert "litserve" in text(EMPTY)


def test_a_row_has_its_load_throughput_and_latency() -> None:
    shown = text(EMPTY | {"rows": [ROW]})
    for part in ("500x375, 8 clients", "123.4", "±5%", "30.0", "–", "time per stage"):
        assert part in shown
    assert "load generator used a whole core" not in shown
    assert "load generator used a whole core" in text(EMPTY | {"rows": [ROW | {"client_cores": 0.95}]})


def test_ratios_and_objectives_are_shown() -> None:
    heading = {"mode": "open", "size": "500x375", "load": 7.0}
    ratio = heading | {"against": "fastapi", "throughput": 1.5, "range": [1.25, 2.0]}
    objectives = [
        {"objective": "no failed requests", "unit": "count", "measured": 0, "limit": 0, "met": True},
        {"objective": "rejections within 50 ms", "unit": "p99 ms", "measured": None, "limit": 50, "met": False},
    ]
    overload = {"objectives": objectives, "rate": 9.0, "client_lag_ms": {"p99": 3.0, "max": 4.0}, "held_back": 5}
    shown = text(EMPTY | {"ratios": [ratio], "scenarios": {"overload": overload}})
    for part in ("500x375, 7 /s", "1.50", "1.25–2.00", "met", "missed", "p99 3.0 ms, max 4.0 ms"):
        assert part in shown

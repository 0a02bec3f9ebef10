"""Service benchmark with a network of two layers: servers start, predict the same, and are all in the document."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from tessella.benchmarks.plots import draw_service
from tessella.benchmarks.report import write
from tessella.benchmarks.service import measure as service_benchmark
from tessella.benchmarks.service.measure import measure
from tessella.benchmarks.service.plan import DEFAULT_LOAD_FRACTION, Plan
from tessella.benchmarks.service.tables import tables
from tessella.benchmarks.service.targets import PredictionMismatch

from ...support.classify_stub import classification, stub

SMALL: dict[str, Any] = {
    "architecture": "vit_tiny_patch16_224",
    "network_options": {"depth": 2},
    "sizes": ("500x375",),
    "backend": "torch",
    "clients": (2,),
    "rounds": 2,
}


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    fractions: list[float] = []
    document = measure(Plan(**SMALL, seconds=6, modes=("closed", "open")), lambda text, part: fractions.append(part))
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.8
    return document


def test_every_server_is_correct_and_in_the_document(measured: dict[str, Any], tmp_path: Path) -> None:
    write(measured, tmp_path / "service.json")
    document = json.loads((tmp_path / "service.json").read_text())
    assert list(document["servers"]) == ["bare loop", "tessella", "fastapi", "litserve"]
    rows = {(row["mode"], row["server"]): row for row in document["rows"]}
    served = {"tessella", "fastapi", "litserve"}
    assert set(rows) == {("closed", "bare loop")} | {(mode, name) for mode in ("closed", "open") for name in served}
    for (mode, name), row in rows.items():
        assert row["accepted"] == row["requests"] > 0, (mode, name, row["failures"])
        assert len(row["rounds"]) == 2
        assert name == "bare loop" or sum(row["stages_ms"].values()) == pytest.approx(row["latency_ms"]["mean"])
    slowest = min(rows["closed", name]["throughput"] for name in served)
    assert rows["open", "fastapi"]["load"] == max(0.1, round(DEFAULT_LOAD_FRACTION * slowest, 1))
    against = [(ratio["mode"], ratio["against"]) for ratio in document["ratios"]]
    assert against == [
        *(("closed", n) for n in ("bare loop", "fastapi", "litserve")),
        ("open", "fastapi"),
        ("open", "litserve"),
    ]
    assert {"date", "commit", "device", "threads", "torch"} <= set(document)
    assert document["photos"]["500x375"]["mean_bytes"] > 10_000
    assert document["parameters"]["architecture"] == "vit_tiny_patch16_224"


def test_the_document_is_shown_as_tables_and_as_a_plot(measured: dict[str, Any], tmp_path: Path) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    for table in tables(measured):
        console.print(table)
    text = console.export_text()
    for part in ("vit_tiny_patch16_224", "2 clients", "fastapi", "p99.9", "inference", "above 1 it is better"):
        assert part in text
    draw_service(measured, tmp_path / "folder" / "service.png")
    assert (tmp_path / "folder" / "service.png").read_bytes().startswith(b"\x89PNG")


def test_a_killed_engine_is_restarted_and_every_request_gets_a_response() -> None:
    summary = measure(Plan(**SMALL, seconds=10, modes=("kill",)))["scenarios"]["kill"]
    assert summary["restarts"] == 1
    assert summary["accepted"] > 0
    assert set(summary["failures"]) == {"status 503"}
    assert summary["recovery_seconds"] > 0


def test_a_peer_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[str] = []
    monkeypatch.setattr(service_benchmark, "installed_version", lambda name: None if name == "litserve" else "1.0")
    monkeypatch.setattr(service_benchmark, "start_tessella", lambda *_: started.append("tessella"))
    monkeypatch.setattr(service_benchmark, "start_peer", lambda name, *_: started.append(name))
    bench = service_benchmark._Bench(Plan(**SMALL), {}, tmp_path, lambda text, part: None)
    bench._start()
    assert started == ["tessella", "fastapi"]
    assert bench.servers == {"fastapi": "1.0", "litserve": "not installed: pip install 'tessella[bench]'"}


@contextmanager
def folder_of_photos(path: Path, count: int = 3) -> Iterator[Path]:
    """Not JPEG files: the stub does not decode them."""
    for number in range(count):
        (path / f"{number}.jpg").write_bytes(str(number).encode())
    yield path


def test_a_running_service_is_measured_alone(tmp_path: Path) -> None:
    with folder_of_photos(tmp_path), stub() as url:
        plan = Plan(url=url, images=tmp_path, clients=(2,), rates=(50.0,), seconds=0.4, rounds=2)
        document = measure(plan)
    assert document["servers"] == {"service": url}
    assert [(row["mode"], row["server"], row["size"]) for row in document["rows"]] == [
        ("closed", "service", tmp_path.name),
        ("open", "service", tmp_path.name),
    ]
    assert all(row["accepted"] == row["requests"] > 0 for row in document["rows"])
    assert document["ratios"] == []
    json.dumps(document)


def test_wrong_predictions_under_load_have_failed(tmp_path: Path) -> None:
    requests = 0

    async def forgetful(body: bytes) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        return classification(int(body) if requests <= 3 else 999)

    with folder_of_photos(tmp_path), stub(forgetful) as url:
        plan = Plan(url=url, images=tmp_path, modes=("closed",), clients=(1,), seconds=0.4, rounds=1)
        (row,) = measure(plan)["rows"]
    assert row["accepted"] == 0
    assert row["failures"] == {"wrong class": row["requests"]}


def test_servers_with_different_predictions_are_not_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def disagree(*_: object) -> dict[str, int]:
        raise PredictionMismatch("litserve predicts class 1")

    monkeypatch.setattr(service_benchmark, "check", disagree)
    with folder_of_photos(tmp_path), stub() as url, pytest.raises(PredictionMismatch):
        measure(Plan(url=url, images=tmp_path, seconds=600))


@pytest.mark.slow
def test_ray_runs_tessellas_own_engine() -> None:
    document = measure(Plan(**SMALL, seconds=4, modes=("closed",), peers=("ray",)))
    assert list(document["servers"]) == ["bare loop", "tessella", "ray"]
    rows = {row["server"]: row for row in document["rows"]}
    assert rows["ray"]["accepted"] == rows["ray"]["requests"] > 0, rows["ray"]["failures"]
    assert [ratio["against"] for ratio in document["ratios"]] == ["bare loop", "ray"]

"""Benchmark routes: exact batch sizes, one run at a time, events, CSV, and clients served meanwhile."""

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import Gated, gated, until

PNG = pictures.encode(pictures.gradient())
SMALL = {"batch_sizes": [1, 4], "iterations": 3, "warmup": 2}


@pytest.fixture
def runner() -> GatedRunner:
    return GatedRunner()


@pytest.fixture
def live(runner: GatedRunner) -> Iterator[Gated]:
    with gated(runner, Settings(model=("gated",), max_batch_size=8)) as live:
        yield live


def start(live: Gated, **request: Any) -> httpx.Response:
    return httpx.post(f"{live.url}/benchmarks", json=SMALL | request)


def ended(live: Gated, id: str) -> dict[str, Any]:
    """Benchmark `id`, once it has ended."""
    run: dict[str, Any] = {}

    def look() -> bool:
        run.update(httpx.get(f"{live.url}/benchmarks/{id}").json())
        return run["state"] in ("done", "cancelled", "failed")

    until(look)
    return run


def test_model_calls_match_the_request(live: Gated, runner: GatedRunner) -> None:
    answer = start(live)
    assert answer.status_code == 202, answer.text
    run = ended(live, answer.json()["id"])
    assert answer.headers["location"] == f"/benchmarks/{run['id']}"
    assert (run["state"], run["model"], run["error"]) == ("done", "gated", None)
    assert runner.batches == [1] * 5 + [4] * 5
    assert [row["batch_size"] for row in run["rows"]] == [1, 4]
    for row in run["rows"]:
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["images_per_second"] == pytest.approx(row["batch_size"] / row["p50_ms"] * 1e3, rel=0.05)
        assert row["speedup"] is None
    assert run["done"] == run["total"]
    assert run["matrix_rate"] is None  # the costs of a gated runner are unknown
    again = start(live).json()["id"]
    ended(live, again)
    listed = httpx.get(f"{live.url}/benchmarks").json()["benchmarks"]
    assert [run["id"] for run in listed] == [again, run["id"]]


def test_default_batch_sizes_respect_the_maximum(runner: GatedRunner) -> None:
    with gated(runner, Settings(model=("gated",), max_batch_size=2)) as live:
        answer = httpx.post(f"{live.url}/benchmarks", json={"iterations": 3, "warmup": 1})
        assert answer.status_code == 202, answer.text
        assert [row["batch_size"] for row in ended(live, answer.json()["id"])["rows"]] == [1, 2]


def test_results_as_csv(live: Gated) -> None:
    id = start(live).json()["id"]
    run = ended(live, id)
    named = httpx.get(f"{live.url}/benchmarks/{id}.csv")
    accepted = httpx.get(f"{live.url}/benchmarks/{id}", headers={"accept": "text/csv"})
    assert named.headers["content-type"] == accepted.headers["content-type"] == "text/csv; charset=utf-8"
    assert named.text == accepted.text
    first, second = csv.DictReader(io.StringIO(named.text))
    assert (first["benchmark"], first["model"], first["batch_size"], second["batch_size"]) == (id, "gated", "1", "4")
    assert float(second["p50_ms"]) == run["rows"][1]["p50_ms"]


def test_events(live: Gated, runner: GatedRunner) -> None:
    runner.gate.clear()
    id = start(live).json()["id"]
    received: list[tuple[str, dict[str, Any]]] = []
    with httpx.stream("GET", f"{live.url}/benchmarks/{id}/events", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        for line in lines:
            if line.startswith("event: "):
                received.append((line.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))))
                runner.gate.set()
    kinds = [kind for kind, _ in received]
    assert kinds[0] == "progress"
    assert kinds[-1] == "end"
    assert [data["batch_size"] for kind, data in received if kind == "result"] == [1, 4]
    assert "rows" not in received[0][1]
    assert received[-1][1] == httpx.get(f"{live.url}/benchmarks/{id}").json()


def test_only_one_benchmark_runs_at_a_time(live: Gated, runner: GatedRunner) -> None:
    runner.gate.clear()
    first = start(live).json()["id"]
    second = start(live, force=True)
    assert (second.status_code, second.json()["error_type"]) == (409, "benchmark_running")
    assert first in second.json()["error"]
    runner.gate.set()
    assert ended(live, first)["state"] == "done"
    assert start(live).status_code == 202


def test_under_load_a_benchmark_needs_force_and_clients_are_still_served(live: Gated, runner: GatedRunner) -> None:
    runner.gate.clear()
    with ThreadPoolExecutor(8) as clients:
        early = clients.submit(httpx.post, f"{live.url}/classify", content=PNG, timeout=30)
        assert runner.begun.acquire(timeout=30)
        refused = start(live)
        assert (refused.status_code, refused.json()["error_type"]) == (429, "overloaded")
        assert refused.headers["retry-after"]
        assert httpx.get(f"{live.url}/benchmarks").json()["benchmarks"] == []
        id = start(live, force=True, batch_sizes=[3], iterations=2000).json()["id"]
        late = [clients.submit(httpx.post, f"{live.url}/classify", content=PNG, timeout=30) for _ in range(4)]
        until(lambda: live.waiting == 5)  # the benchmark's first call, and the images
        runner.gate.set()
        assert [answer.result().status_code for answer in (early, *late)] == [200] * 5
    assert sorted(runner.batches[:3]) == [1, 3, 4]
    httpx.delete(f"{live.url}/benchmarks/{id}")
    ended(live, id)


def test_cancelling_ends_after_the_current_call(live: Gated, runner: GatedRunner) -> None:
    runner.gate.clear()
    id = start(live).json()["id"]
    assert httpx.delete(f"{live.url}/benchmarks/{id}").status_code == 200
    runner.gate.set()
    assert ended(live, id)["state"] == "cancelled"
    assert len(runner.batches) <= 1
    assert httpx.delete(f"{live.url}/benchmarks/{id}").json()["state"] == "cancelled"


def test_a_failed_model_call_fails_the_run(live: Gated, runner: GatedRunner) -> None:
    runner.fails = True
    run = ended(live, start(live).json()["id"])
    assert (run["state"], run["error"]) == ("failed", "out of memory")


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ({"model": "other"}, 404, "model 'other' is not served"),
        ({"batch_sizes": [16]}, 400, "larger than the model's maximum, 8"),
        ({"batch_sizes": []}, 400, "batch_sizes"),
        ({"batch_sizes": [2, 2]}, 400, "must not contain a size twice"),
        ({"iterations": 0}, 400, "iterations"),
        ({"dtype": "float16"}, 400, "served in none"),
        ({"against": "lazy"}, 400, "against"),
        ({"speed": 1}, 400, "speed"),
    ],
)
def test_invalid_requests(live: Gated, request_: dict[str, Any], status: int, reason: str) -> None:
    answer = start(live, **request_)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


def test_invalid_json_and_unknown_ids(live: Gated) -> None:
    assert httpx.post(f"{live.url}/benchmarks", content=b"now!").status_code == 400
    for path in ("", ".csv", "/events"):
        missing = httpx.get(f"{live.url}/benchmarks/none{path}")
        assert (missing.status_code, missing.json()["error_type"]) == (404, "benchmark_not_found"), path
    assert httpx.delete(f"{live.url}/benchmarks/none").status_code == 404


def test_access_is_limited_to_same_origin_or_a_key(live: Gated) -> None:
    foreign = {"origin": "https://example.org"}
    assert httpx.post(f"{live.url}/benchmarks", json=SMALL, headers=foreign).status_code == 403
    assert httpx.delete(f"{live.url}/benchmarks/x", headers=foreign).status_code == 403
    with gated(GatedRunner(), Settings(model=("gated",), api_key=("red",))) as guarded:
        assert start(guarded).status_code == 401
        assert httpx.get(f"{guarded.url}/benchmarks").status_code == 401
        key = {"x-api-key": "red"}
        assert httpx.post(f"{guarded.url}/benchmarks", json=SMALL, headers=key).status_code == 202

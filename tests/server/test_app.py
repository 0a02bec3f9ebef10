"""The application around a gated model: batching over real sockets, overload, deadlines, loading and draining."""

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from tessella.server.settings import Settings

from ..support import pictures
from ..support.gated_runner import SIDE, GatedRunner
from ..support.live import Gated, gated, until


def red(value: int) -> bytes:
    return pictures.encode(Image.new("RGB", (SIDE, SIDE), (value, 0, 0)))


@pytest.fixture
def runner() -> GatedRunner:
    return GatedRunner()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


@pytest.mark.parametrize("max_batch_size", [8, 32])
def test_1_and_63_requests_are_1_and_63_by_max_batch_calls(
    runner: GatedRunner, pool: ThreadPoolExecutor, max_batch_size: int
) -> None:
    with gated(runner, Settings(model=("gated",), max_batch_size=max_batch_size)) as live:
        first = hold(runner, pool, live)
        others = [send(pool, live, value) for value in range(63)]
        until(lambda: live.waiting == 63)
        runner.gate.set()
        assert label(first.result()) == "red 255"
        answers = [other.result() for other in others]
    assert [label(answer) for answer in answers] == [f"red {value}" for value in range(63)]
    assert len(runner.batches) == 1 + -(-63 // max_batch_size)
    assert runner.batches[0] == 1
    assert sum(runner.batches) == 64
    sizes = [answer.json()["batch_sizes"][0] for answer in answers]
    assert max(sizes) == max_batch_size
    assert all(answer.headers["x-batch-size"] == str(size) for answer, size in zip(answers, sizes, strict=True))


def test_the_event_loop_stays_free_while_the_model_runs(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",))) as live:
        first = hold(runner, pool, live)
        assert httpx.get(f"{live.url}/healthz").status_code == 200
        assert not first.done()
        runner.gate.set()
        assert label(first.result()) == "red 255"


def test_overload_is_429_and_accepted_requests_are_answered(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",), max_queue=3)) as live:
        accepted = [hold(runner, pool, live), send(pool, live, 1), send(pool, live, 2)]
        until(lambda: live.waiting == 2)
        refused = send(pool, live, 3).result()
        assert refused.status_code == 429
        assert refused.json()["error_type"] == "overloaded"
        assert int(refused.headers["retry-after"]) == 1, "nothing is known of the rate yet"
        runner.gate.set()
        assert [label(answer.result()) for answer in accepted] == ["red 255", "red 1", "red 2"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/classify", "image/png"),
        ("/classify", "application/json"),
        ("/classify", "application/octet-stream"),
        ("/", "image/png"),
        ("/models/gated", "application/json"),
        ("/v1/embeddings", "application/json"),
        ("/v1/infer", "application/json"),
        ("/v2/models/gated/infer", "application/octet-stream"),
    ],
)
def test_a_full_queue_refuses_before_the_body_is_sent(
    runner: GatedRunner, pool: ThreadPoolExecutor, path: str, kind: str
) -> None:
    request = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 9000000\r\n\r\n".encode()
    with gated(runner, Settings(model=("gated",), max_queue=1)) as live:
        first = hold(runner, pool, live)
        host, port = live.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as line:
            line.sendall(request)
            head = line.recv(4096).decode()
        assert head.startswith("HTTP/1.1 429")
        assert "retry-after" in head
        runner.gate.set()
        assert label(first.result()) == "red 255"


def test_a_request_whose_time_is_over_is_504(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",))) as live:
        first = hold(runner, pool, live)
        expired = send(pool, live, 1, timeout_ms=50).result()
        assert (expired.status_code, expired.json()["error_type"]) == (504, "deadline_exceeded")
        runner.gate.set()
        assert label(first.result()) == "red 255"
    assert runner.batches == [1]


@pytest.mark.parametrize(
    ("path", "head"),
    [("/classify", ""), ("/", ""), ("/v2/models/gated/infer", "inference-header-content-length: 0\r\n")],
)
def test_what_a_client_that_has_gone_had_asked_for_costs_no_batch(
    runner: GatedRunner, pool: ThreadPoolExecutor, path: str, head: str
) -> None:
    body = red(1)
    request = f"POST {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
    with gated(runner, Settings(model=("gated",))) as live:
        first = hold(runner, pool, live)
        host, port = live.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as line:
            line.sendall(request)
            until(lambda: live.waiting == 1)
        pending = 'nv_inference_pending_request_count{model="gated",version="1"} 1.0'
        until(lambda: pending in httpx.get(f"{live.url}/metrics").text)
        runner.gate.set()
        assert label(first.result()) == "red 255"
        dropped = 'tessella_images_dropped_total{reason="cancelled",model="gated",version="1"} 1.0'
        until(lambda: dropped in httpx.get(f"{live.url}/metrics").text)
    assert runner.batches == [1]


def test_a_failing_model_is_503_and_not_the_end(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",))) as live:
        runner.fails = True
        failed = send(pool, live, 1).result()
        assert (failed.status_code, failed.json()["error_type"]) == (503, "inference_failed")
        runner.fails = False
        assert label(send(pool, live, 2).result()) == "red 2"


def test_stopping_answers_what_was_accepted(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",))) as live:
        accepted = [hold(runner, pool, live), send(pool, live, 1)]
        until(lambda: live.waiting == 1)
        live.server.should_exit = True
        until(lambda: refuses(live.url))
        runner.gate.set()
        assert [label(answer.result()) for answer in accepted] == ["red 255", "red 1"]


def hold(runner: GatedRunner, pool: ThreadPoolExecutor, live: Gated) -> "Future[httpx.Response]":
    """Shuts the gate and sends one request: returns once the model runs, and cannot finish."""
    runner.gate.clear()
    first = send(pool, live, 255)
    assert runner.begun.acquire(timeout=30)
    return first


def send(pool: ThreadPoolExecutor, live: Gated, value: int, **query: Any) -> "Future[httpx.Response]":
    return pool.submit(httpx.post, f"{live.url}/classify", content=red(value), params=query, timeout=60)


def label(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    found: str = response.json()["results"][0]["predictions"][0]["label"]
    return found


def refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz")
    except httpx.TransportError:
        return True
    return False

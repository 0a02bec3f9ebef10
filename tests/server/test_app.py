"""Application around a gated model: batching, overload, deadlines, disconnects, failures and draining."""

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
def test_requests_queued_during_a_model_call_share_batches(
    runner: GatedRunner, pool: ThreadPoolExecutor, max_batch_size: int
) -> None:
    with gated(runner, Settings(model=("gated",), max_batch_size=max_batch_size)) as live:
        first = hold(runner, pool, live)
        others = [send(pool, live, value) for value in range(63)]
        until(lambda: live.waiting == 63)
        runner.gate.set()
        assert label(first.result()) == "red 255"
        responses = [other.result() for other in others]
    assert [label(response) for response in responses] == [f"red {value}" for value in range(63)]
    assert len(runner.batches) == 1 + -(-63 // max_batch_size)
    assert runner.batches[0] == 1
    assert sum(runner.batches) == 64
    sizes = [response.json()["batch_sizes"][0] for response in responses]
    assert max(sizes) == max_batch_size
    assert all(response.headers["x-batch-size"] == str(size) for response, size in zip(responses, sizes, strict=True))


def test_event_loop_is_free_while_the_model_runs(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",))) as live:
        first = hold(runner, pool, live)
        assert httpx.get(f"{live.url}/healthz").status_code == 200
        assert not first.done()
        runner.gate.set()
        assert label(first.result()) == "red 255"


def test_overload_is_429_and_accepted_requests_finish(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",), max_queue=3)) as live:
        accepted = [hold(runner, pool, live), send(pool, live, 1), send(pool, live, 2)]
        until(lambda: live.waiting == 2)
        rejected = send(pool, live, 3).result()
        assert rejected.status_code == 429
        assert rejected.json()["error_type"] == "overloaded"
        assert int(rejected.headers["retry-after"]) == 1, "the default, as there is no rate yet"
        runner.gate.set()
        assert [label(response.result()) for response in accepted] == ["red 255", "red 1", "red 2"]


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
def test_full_queue_rejects_before_the_body_is_sent(
    runner: GatedRunner, pool: ThreadPoolExecutor, path: str, kind: str
) -> None:
    request = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 9000000\r\n\r\n".encode()
    with gated(runner, Settings(model=("gated",), max_queue=1)) as live:
        first = hold(runner, pool, live)
        host, port = live.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(request)
            head = connection.recv(4096).decode()
        assert head.startswith("HTTP/1.1 429")
        assert "retry-after" in head
        runner.gate.set()
        assert label(first.result()) == "red 255"


def test_expired_request_is_504(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
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
def test_images_of_a_disconnected_client_are_dropped(
    runner: GatedRunner, pool: ThreadPoolExecutor, path: str, head: str
) -> None:
    body = red(1)
    request = f"POST {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
    with gated(runner, Settings(model=("gated",))) as live:
        first = hold(runner, pool, live)
        host, port = live.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(request)
            until(lambda: live.waiting == 1)
        pending = 'nv_inference_pending_request_count{model="gated",version="1"} 1.0'
        until(lambda: pending in httpx.get(f"{live.url}/metrics").text)
        runner.gate.set()
        assert label(first.result()) == "red 255"
        dropped = 'tessella_images_dropped_total{reason="cancelled",model="gated",version="1"} 1.0'
        until(lambda: dropped in httpx.get(f"{live.url}/metrics").text)
    assert runner.batches == [1]


def test_failed_model_call_is_503_and_the_next_succeeds(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",))) as live:
        runner.fails = True
        failed = send(pool, live, 1).result()
        assert (failed.status_code, failed.json()["error_type"]) == (503, "inference_failed")
        runner.fails = False
        assert label(send(pool, live, 2).result()) == "red 2"


def test_shutdown_finishes_accepted_requests(runner: GatedRunner, pool: ThreadPoolExecutor) -> None:
    with gated(runner, Settings(model=("gated",))) as live:
        accepted = [hold(runner, pool, live), send(pool, live, 1)]
        until(lambda: live.waiting == 1)
        live.server.should_exit = True
        until(lambda: refuses(live.url))
        runner.gate.set()
        assert [label(response.result()) for response in accepted] == ["red 255", "red 1"]


def hold(runner: GatedRunner, pool: ThreadPoolExecutor, live: Gated) -> "Future[httpx.Response]":
    """Close the gate and send one request; returns once the model call is in progress."""
    runner.gate.clear()
    first = send(pool, live, 255)
    assert runner.begun.acquire(timeout=30)
    return first


def send(pool: ThreadPoolExecutor, live: Gated, value: int, **query: Any) -> "Future[httpx.Response]":
    return pool.submit(httpx.post, f"{live.url}/classify", content=red(value), params=query, timeout=60)


def label(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    result: str = response.json()["results"][0]["predictions"][0]["label"]
    return result


def refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz")
    except httpx.TransportError:
        return True
    return False

"""Body budget over real sockets: rejected bodies are not read, and reserved bytes are always released."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from tessella.server.errors import Overloaded
from tessella.server.http.body import BodyBudget
from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import Gated, gated

PNG = pictures.encode(pictures.gradient())
LIMIT = 10_000


@pytest.fixture
def runner() -> GatedRunner:
    return GatedRunner()


@pytest.fixture
def live(runner: GatedRunner) -> Iterator[Gated]:
    settings = Settings(model=("gated",), max_body_bytes=LIMIT, max_queue_bytes=LIMIT)
    with gated(runner, settings) as live:
        yield live


def opened(live: Gated, announced: int) -> socket.socket:
    """Connection that has sent the headers of a request, but not its body."""
    address = urlsplit(live.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall(f"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: {announced}\r\n\r\n".encode())
    return connection


def until_accepted(live: Gated) -> int:
    """Number of requests rejected before one was accepted."""
    for refused in range(300):
        if httpx.post(f"{live.url}/classify", content=PNG).status_code == 200:
            return refused
        time.sleep(0.02)
    raise AssertionError("the budget never came back")


def test_bytes_are_reserved_and_released() -> None:
    budget = BodyBudget(100)
    budget.reserve(60)
    with pytest.raises(Overloaded, match="hold 60 bytes; 41 more would exceed the limit of 100"):
        budget.reserve(41)
    budget.reserve(40)
    budget.release(100)
    assert budget.reserved == 0


def test_requests_beyond_the_budget_are_rejected_before_their_body(live: Gated) -> None:
    with opened(live, LIMIT - 10) as first, opened(live, len(PNG)) as second:
        refusal = second.recv(4096).decode()
        assert refusal.startswith("HTTP/1.1 429")
        assert "retry-after: 1" in refusal
        first.sendall(b"not an image".ljust(LIMIT - 10))
        assert first.recv(4096).startswith(b"HTTP/1.1 422")
    assert until_accepted(live) == 0


def test_a_disconnect_releases_the_reserved_bytes(live: Gated) -> None:
    with opened(live, LIMIT):
        while httpx.post(f"{live.url}/classify", content=PNG).status_code != 429:
            time.sleep(0.02)
    until_accepted(live)


def test_bytes_are_reserved_until_the_response(live: Gated, runner: GatedRunner) -> None:
    runner.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(httpx.post, f"{live.url}/classify", content=PNG, timeout=30)
        assert runner.begun.acquire(timeout=30)
        assert httpx.post(f"{live.url}/classify", content=b"x" * (LIMIT - len(PNG) + 1)).status_code == 429
        runner.gate.set()
        assert held.result().status_code == 200
    assert until_accepted(live) == 0


def test_chunked_bodies_reserve_bytes_as_they_arrive(live: Gated) -> None:
    with opened(live, LIMIT - 100):
        chunks = (b"x" * 50 for _ in range(4))
        deadline = time.monotonic() + 30
        while httpx.post(f"{live.url}/classify", content=PNG).status_code != 429:
            assert time.monotonic() < deadline
        assert httpx.post(f"{live.url}/classify", content=chunks).status_code == 429


def test_a_stalled_body_releases_its_bytes() -> None:
    """The client hangs, or has lost its network."""
    settings = Settings(model=("gated",), max_body_bytes=LIMIT, max_queue_bytes=LIMIT, timeout_ms=300)
    with gated(GatedRunner(), settings) as live, opened(live, LIMIT) as connection:
        connection.sendall(b"half of it")
        assert connection.recv(4096).startswith(b"HTTP/1.1 504")
        assert until_accepted(live) == 0

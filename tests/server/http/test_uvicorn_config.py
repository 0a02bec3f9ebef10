"""Limits for request headers that have no end or arrive too slowly."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import Gated, gated

SECONDS = 0.6
PNG = pictures.encode(pictures.gradient())


@pytest.fixture(scope="module")
def live() -> Iterator[Gated]:
    with gated(GatedRunner(), Settings(model=("gated",), timeout_ms=1e3 * SECONDS)) as live:
        yield live


@contextmanager
def connected(live: Gated) -> Iterator[socket.socket]:
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        yield line


def rest(line: socket.socket) -> bytes:
    """All data until the server closes the connection."""
    return b"".join(iter(lambda: line.recv(1 << 16), b""))


def refusal(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"])
@pytest.mark.parametrize("piece", [b"a" * 1024, b"a" * 1000 + b"\r\nx: "])
def test_endless_headers_are_rejected(live: Gated, before: bytes, piece: bytes) -> None:
    with connected(live) as line:
        line.sendall(before)
        if before:
            assert line.recv(1 << 16).startswith(b"HTTP/1.1 200")
        line.sendall(b"GET /healthz HTTP/1.1\r\nx: ")
        with suppress(ConnectionError):
            for _ in range(2048):
                line.sendall(piece)
        assert refusal(rest(line)) == (431, "the request line and headers exceed 65,536 bytes")


def test_incomplete_headers_time_out(live: Gated) -> None:
    with connected(live) as silent, connected(live) as half:
        half.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        assert refusal(rest(half)) == (408, f"the request line and headers did not arrive within {SECONDS} s")
        assert rest(silent) == b""


def test_large_headers_of_successive_requests_are_accepted(live: Gated) -> None:
    with httpx.Client() as client:
        for _ in range(5):
            assert client.get(f"{live.url}/healthz", headers={"cookie": "a" * 40_000}).status_code == 200


def test_a_body_may_take_longer_than_the_header_timeout(live: Gated) -> None:
    quarter = len(PNG) // 4 + 1

    def slowly() -> Iterator[bytes]:
        for index in range(0, len(PNG), quarter):
            yield PNG[index : index + quarter]
            time.sleep(SECONDS / 2)

    assert httpx.post(f"{live.url}/classify", content=slowly()).status_code == 200

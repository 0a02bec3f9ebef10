"""Offers to upgrade are ignored, and requests that cannot be parsed are answered in the JSON shape of all errors."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import Gated, gated, until

PNG = pictures.encode(pictures.gradient())
OFFERS = {
    "websocket": b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "unknown": b"UPGRADE: tls/1.3\r\nConnection: keep-alive, upgrade\r\n",
}
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
Answer = tuple[int, dict[str, str], dict[str, object]]
Encode = Callable[[bytes, bytes], bytes]


@pytest.fixture(scope="module")
def runner() -> GatedRunner:
    return GatedRunner()


@pytest.fixture(scope="module")
def live(runner: GatedRunner) -> Iterator[Gated]:
    with gated(runner, Settings(model=("gated",))) as live:
        yield live


@contextmanager
def connected(live: Gated) -> Iterator[socket.socket]:
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        yield line


def answers(line: socket.socket) -> list[Answer]:
    """All responses until the server closes the connection."""
    data = b"".join(iter(lambda: line.recv(1 << 16), b""))
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *rows = head.decode().split("\r\n")
        headers = dict(row.lower().split(": ", 1) for row in rows)
        size = int(headers["content-length"])
        found.append((int(status.split()[1]), headers, json.loads(data[:size])))
        data = data[size:]
    return found


def post(offer: bytes, body: bytes, last: bool = False) -> bytes:
    close = b"connection: close\r\n" if last else b""
    return b"POST /classify HTTP/1.1\r\nhost: x\r\n%b%bcontent-length: %d\r\n\r\n%b" % (offer, close, len(body), body)


def chunked(offer: bytes, body: bytes) -> bytes:
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))
    return b"POST /classify HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n%b" % (offer, chunks)


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("encode", [post, chunked], ids=["length", "chunked"])
def test_requests_that_offer_an_upgrade_are_served_with_their_bodies(
    live: Gated, offer: bytes, piece: int, encode: Encode
) -> None:
    data = 2 * encode(offer, PNG) + post(b"", PNG, last=True)
    with connected(live) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), piece):
            line.sendall(data[start : start + piece])
        found = answers(line)
    assert [status for status, _, _ in found] == [200] * 3
    results = [body["results"] for _, _, body in found]
    assert results[0] == results[1] == results[2]
    assert not any("upgrade" in headers for _, headers, _ in found)


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_body_is_never_the_next_request(live: Gated, offer: bytes) -> None:
    with connected(live) as line:
        line.sendall(post(offer, HEALTH) + post(b"", PNG, last=True))
        assert [status for status, _, _ in answers(line)] == [422, 200]


def test_heads_with_an_offer_are_limited_too(live: Gated) -> None:
    with connected(live) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\n" + OFFERS["h2c"] + b"x: " + b"a" * 70_000)
        assert [status for status, _, _ in answers(line)] == [431]


INVALID = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two lengths": b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "both framings": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size": b"POST /classify HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "chunk size after an offer": b"POST /classify HTTP/1.1\r\nhost: x\r\n"
    + OFFERS["h2c"]
    + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_invalid_requests_are_answered_in_json(live: Gated, data: bytes) -> None:
    with connected(live) as line:
        line.sendall(data)
        [(status, headers, body)] = answers(line)
    assert (status, headers["content-type"], headers["connection"]) == (400, "application/json", "close")
    assert body["error_type"] == "bad_request"
    assert str(body["error"]).startswith("not a valid HTTP request")


def test_connect_is_refused(live: Gated) -> None:
    with connected(live) as line:
        line.sendall(b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n" + HEALTH)
        [(status, _, body)] = answers(line)
    assert (status, body["error_type"]) == (501, "unsupported")


def test_an_invalid_request_does_not_take_the_answer_of_the_one_before(live: Gated, runner: GatedRunner) -> None:
    runner.gate.clear()
    before = len(runner.batches)
    try:
        with connected(live) as line:
            line.sendall(post(b"", PNG) + b"\x00\r\n\r\n")
            until(lambda: len(runner.batches) > before)
            threading.Timer(0.2, runner.gate.set).start()
            [(status, headers, body)] = answers(line)
        assert (status, headers["connection"]) == (200, "close")
        assert "results" in body
    finally:
        runner.gate.set()

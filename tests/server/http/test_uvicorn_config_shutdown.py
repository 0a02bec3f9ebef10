"""Shutdown without losses: every request that was sent before the signal is answered, wherever it waits."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tessella.server.http import uvicorn_config

from ...support import pictures
from ...support.live import Process

PNG = pictures.encode(pictures.gradient())
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
CLASSIFY = b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(PNG), PNG)
UPLOAD = CLASSIFY[:-10]
"""A request whose end never comes."""


@pytest.fixture(params=["0", "2"])
def process(request: pytest.FixtureRequest) -> Iterator[Process]:
    options = ("--model", "digits-vit", "--device", "cpu", "--drain-timeout", "2", "--frontends", request.param)
    process = Process(*options).ready()
    try:
        process.until(lambda: process.startup_complete)
        yield process
    finally:
        process.stop()


def connect(process: Process) -> socket.socket:
    host, port = process.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def responses(line: socket.socket, count: int = 0) -> list[tuple[int, str, object]]:
    """Status, `Connection` and body of so many responses, or of all until the server closes the connection."""
    found: list[tuple[int, str, object]] = []
    with line.makefile("rb") as stream:
        while (not count or len(found) < count) and (status := stream.readline()):
            rows = iter(stream.readline, b"\r\n")
            headers = dict(row.decode().strip().lower().split(": ", 1) for row in rows)
            body = json.loads(stream.read(int(headers["content-length"])))
            found.append((int(status.split()[1]), headers.get("connection", ""), body))
    return found


def serving(process: Process) -> list[int]:
    return process.children("frontend") or [process.process.pid]


def test_requests_that_wait_in_the_kernel_are_answered(process: Process) -> None:
    number = signal.SIGTERM if process.children("frontend") else signal.SIGINT
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(process)) for _ in range(8)]
        for line in idle:
            line.sendall(HEALTH)
            assert [status for status, _, _ in responses(line, 1)] == [200]
        for child in serving(process):
            os.kill(child, signal.SIGSTOP)
        fresh = [stack.enter_context(connect(process)) for _ in range(16)]
        for line in fresh + idle:
            line.sendall(CLASSIFY + HEALTH + CLASSIFY)
        process.process.send_signal(number)
        time.sleep(0.2)  # the supervisor's messages
        for child in serving(process):
            os.kill(child, signal.SIGCONT)
        for line in fresh + idle:
            statuses = [(status, connection) for status, connection, _ in responses(line)]
            assert statuses == [(200, ""), (200, ""), (200, "close")]
    assert process.wait() == 0


def test_a_request_on_its_way_is_answered_after_the_listener_is_closed(process: Process) -> None:
    with connect(process) as fresh, connect(process) as idle:
        idle.sendall(HEALTH)
        assert [status for status, _, _ in responses(idle, 1)] == [200]
        process.process.send_signal(signal.SIGTERM)
        process.until(lambda: refuses(process))
        for line in (fresh, idle):
            line.sendall(HEALTH)
        for line in (fresh, idle):
            assert [(status, connection) for status, connection, _ in responses(line)] == [(200, "close")]
    assert process.wait() == 0


def test_stalled_uploads_and_heads_are_503(process: Process) -> None:
    with connect(process) as upload, connect(process) as head:
        upload.sendall(UPLOAD)
        head.sendall(HEALTH[:-2])
        time.sleep(0.3)
        process.process.send_signal(signal.SIGTERM)
        expected = {"error": "the service is shutting down", "error_type": "not_ready"}
        for line in (head, upload):
            assert responses(line) == [(503, "close", expected)]
    assert process.wait() == 0


def refuses(process: Process) -> bool:
    try:
        connect(process).close()
    except ConnectionError:
        return True
    return False


def test_all_waiting_connections_are_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as listener, ExitStack() as stack:
        assert uvicorn_config._accept_all(listener) == []
        lines = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(5)]
        accepted = [stack.enter_context(connection) for connection in uvicorn_config._accept_all(listener)]
        assert {line.getsockname() for line in lines} == {connection.getpeername() for connection in accepted}
        assert uvicorn_config._accept_all(listener) == []

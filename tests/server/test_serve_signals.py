"""Signals of the service: they end it without waiting for a model that loads, and a second one ends it at once."""

import os
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from ..support.live import Process, alive

LOAD_BLOCKS = """
import sys, threading
import tessella.server.engine.worker
Worker = tessella.server.engine.worker.Worker
Worker.start = lambda self: print("load blocks", file=sys.stderr, flush=True) or threading.Event().wait()
"""
SECONDS = 10.0
"""Bound for machines under load; a process that waits for the load, the delay or the request takes 30 s."""
FRONT_ENDS = pytest.mark.parametrize("front_ends", ["0", "2"])


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Search path on which every model load blocks for ever."""
    (tmp_path / "sitecustomize.py").write_text(LOAD_BLOCKS)
    return os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))


def everyone(process: Process) -> list[int]:
    return [process.process.pid, *process.children("engine"), *process.children("frontend")]


@pytest.mark.parametrize(("front_ends", "number"), [("0", signal.SIGTERM), ("0", signal.SIGINT), ("2", signal.SIGTERM)])
def test_a_signal_does_not_wait_for_a_model_that_loads(path: str, front_ends: str, number: int) -> None:
    process = Process("--model", "digits-vit", "--frontends", front_ends, "--drain-delay", "30", PYTHONPATH=path)
    process.until(lambda: any("load blocks" in line for line in list(process.log)))
    assert httpx.get(f"{process.url}/readyz", timeout=60).json() == {"status": "loading"}
    start = time.monotonic()
    assert process.stop(number) == 0, "".join(process.log)
    assert time.monotonic() - start < SECONDS
    process.until(lambda: not any(map(alive, everyone(process))), timeout=10)
    assert "Traceback" not in "".join(process.log)


@FRONT_ENDS
def test_a_second_signal_ends_the_service_at_once(front_ends: str) -> None:
    process = Process("--model", "digits-vit", "--frontends", front_ends, "--drain-delay", "30").ready()
    host, port = process.url.removeprefix("http://").split(":")
    process.process.send_signal(signal.SIGTERM)
    process.until(lambda: httpx.get(f"{process.url}/readyz").json() == {"status": "draining"})
    with socket.create_connection((host, int(port))) as line:
        line.sendall(b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
        start = time.monotonic()
        assert process.stop(signal.SIGINT) == 128 + signal.SIGINT
        assert time.monotonic() - start < SECONDS
    process.until(lambda: not any(map(alive, everyone(process))), timeout=10)

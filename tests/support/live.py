"""Live servers on sockets: `tessella serve` in a process, and the application around a gated runner in a thread."""

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tessella.server.app import create_app
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.model_loader import DEFAULT_MAX_BATCH_SIZE
from tessella.server.http.service import Service
from tessella.server.http.uvicorn_config import Server, server_config
from tessella.server.observability.metrics import Metrics
from tessella.server.repository import ModelRepository
from tessella.server.serve import listen
from tessella.server.served_model import ServedModel
from tessella.server.settings import Settings

from .gated_runner import GatedRunner

HERE = Path(__file__).parent


def until(condition: Callable[[], object], timeout: float = 30, log: Iterable[str] = ("timeout",)) -> None:
    """Wait until the condition is true, at most `timeout` seconds; `log` is the message of the failure."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "".join(log)
        time.sleep(0.01)


class Process:
    """Process of `tessella serve`, with its log. `url` is known once it listens.

    The dtype is float32 unless overridden, as answers are compared with PyTorch's in float32.
    """

    def __init__(self, *options: str, folder: Path = HERE, **environment: str) -> None:
        command = [sys.executable, "-m", "tessella.cli", "serve", "--port", "0", *options]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TESSELLA_DTYPE": "float32", **environment},
            cwd=folder,
        )
        self.log: deque[str] = deque(maxlen=500)
        self._listening = threading.Event()
        self.url = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for line in lines:
                self.log.append(line)
                if match := re.search(r"listening on (https?://\S+);", line):
                    self.url = match[1]
                    self._listening.set()
        self._listening.set()

    def ready(self, timeout: float = 120, verify: ssl.SSLContext | bool = True) -> "Process":
        """Wait until all models are ready."""
        assert self._listening.wait(timeout)
        assert self.url, "".join(self.log)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert self.process.poll() is None, "".join(self.log)
            with suppress(httpx.TransportError):  # the process may have exited: checked in the next iteration
                if httpx.get(f"{self.url}/readyz", verify=verify).status_code == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"not ready within {timeout} s: {''.join(self.log)}")

    def until(self, condition: Callable[[], object], timeout: float = 60) -> None:
        until(condition, timeout, self.log)

    @property
    def startup_complete(self) -> bool:
        """True once it has logged that it is ready; before that, a front end may miss heartbeats for longer."""
        return any("ready: open" in line for line in list(self.log))

    def children(self, kind: str) -> list[int]:
        """Process ids of the engines or front ends started so far, oldest first."""
        return [
            int(match[1]) for line in list(self.log) if (match := re.search(rf"{kind} \d+ \(pid (\d+)\) started", line))
        ]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the exit after a signal that is already sent; returns the exit code."""
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._listener.join(10)


def alive(process_id: int) -> bool:
    """True if the process exists and is not a zombie."""
    try:
        with open(f"/proc/{process_id}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def served(*options: str, **environment: str) -> Iterator[str]:
    """URL of a ready `tessella serve`, which is stopped at the end."""
    process = Process(*options, folder=HERE, **environment)
    try:
        yield process.ready().url
    finally:
        process.stop()


@dataclass(frozen=True)
class Gated:
    """Served application around a gated runner. `repository` belongs to the server's thread: read only."""

    url: str
    repository: ModelRepository
    server: Server

    @property
    def waiting(self) -> int:
        return self.repository.engine(None).waiting


@contextmanager
def gated(runner: GatedRunner, settings: Settings) -> Iterator[Gated]:
    """Context manager: serve a gated runner in a thread, on a socket."""
    listener = listen("127.0.0.1", 0)
    loaded = threading.Event()

    metrics = Metrics()

    async def load(model: ServedModel) -> AsyncEngine:
        worker = runner.worker(settings.max_batch_size or DEFAULT_MAX_BATCH_SIZE, metrics)
        return AsyncEngine(worker, name=model.name, max_queue=settings.max_queue, metrics=metrics)

    repository = ModelRepository(settings, load)
    app = create_app(Service(settings, repository, metrics), loaded.set)
    server = Server(server_config(app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert loaded.wait(30)
        yield Gated(f"http://127.0.0.1:{listener.getsockname()[1]}", repository, server)
    finally:
        runner.gate.set()
        server.should_exit = True
        thread.join(30)
        listener.close()

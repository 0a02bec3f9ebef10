"""Servers on real sockets: the command in its own process, and the application around a gated runner in a thread."""

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


def until(
    condition: Callable[[], object], within: float = 30, said: Iterable[str] = ("it never came to that",)
) -> None:
    """Waits for it, so many seconds at most. `said`: what explains why it never came to that."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "".join(said)
        time.sleep(0.01)


class Process:
    """A `tessella serve` of its own, with what it says. `url` is known once it listens.

    In float32, unless told otherwise: what `auto` measures may differ between two starts.
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
        self.said: deque[str] = deque(maxlen=500)
        self._listening = threading.Event()
        self.url = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for line in lines:
                self.said.append(line)
                if found := re.search(r"listening on (https?://\S+);", line):
                    self.url = found[1]
                    self._listening.set()
        self._listening.set()

    def ready(self, within: float = 120, verify: ssl.SSLContext | bool = True) -> "Process":
        """Waits until every model answers."""
        assert self._listening.wait(within)
        assert self.url, "".join(self.said)
        end = time.monotonic() + within
        while time.monotonic() < end:
            assert self.process.poll() is None, "".join(self.said)
            with suppress(httpx.TransportError):  # it may have ended since: the next turn tells why
                if httpx.get(f"{self.url}/readyz", verify=verify).status_code == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"not ready within {within} s: {''.join(self.said)}")

    def until(self, condition: Callable[[], object], within: float = 60) -> None:
        until(condition, within, self.said)

    @property
    def is_open(self) -> bool:
        """Whether it has said that everything is ready: until then a front end may be silent for longer."""
        return any("ready: open" in line for line in list(self.said))

    def children(self, kind: str) -> list[int]:
        """Process ids of the `engine`s or `frontend`s started so far, oldest first."""
        return [
            int(found[1])
            for line in list(self.said)
            if (found := re.search(rf"{kind} \d+ \(pid (\d+)\) started", line))
        ]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._listener.join(10)


def alive(process_id: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        with open(f"/proc/{process_id}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def served(*options: str, **environment: str) -> Iterator[str]:
    """The URL of a ready `tessella serve`."""
    process = Process(*options, folder=HERE, **environment)
    try:
        yield process.ready().url
    finally:
        process.stop()


@dataclass(frozen=True)
class Gated:
    """The real application around a gated runner. `repository` belongs to the server's thread: only look."""

    url: str
    repository: ModelRepository
    server: Server

    @property
    def waiting(self) -> int:
        return self.repository.engine(None).waiting


@contextmanager
def gated(runner: GatedRunner, settings: Settings) -> Iterator[Gated]:
    """Serves in a thread, on a socket."""
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

"""Server processes of a comparison: start, wait until ready, suspend while others are measured, stop."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ...models.cpu import usable_cores

START_TIMEOUT = 600.0
PEERS = ("fastapi", "litserve", "ray")
DEFAULT_PEERS = PEERS[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings that all servers of a comparison share.

    Attributes:
        model: folder with `model.safetensors` and timm's `config.json`.
        threads: number of inference threads, and of decoding threads.
        backend: of tessella's engine.
    """

    model: Path
    threads: int = field(default_factory=usable_cores)
    max_batch_size: int = 32
    device: str = "cpu"
    dtype: str = "float32"
    backend: str = "auto"


class ServerError(OSError):
    """Server did not start, or exited; the message has its last lines of output."""


class Server:
    """Running server process. As a context manager it is stopped on exit, with all its child processes.

    Args:
        ready_path: polled until it responds with 200.
        log: file for the output of the process.
        suspendable: the process tolerates SIGSTOP.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        ready_path: str,
        log: Path,
        threads: int,
        port: int,
        *,
        suspendable: bool = True,
    ) -> None:
        self.name = name
        self._suspendable = suspendable
        self.url = f"http://127.0.0.1:{port}"
        self._ready_url = self.url + ready_path
        self._log = log
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TESSELLA_")}
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment | {"OMP_NUM_THREADS": str(threads)},
                cwd=log.parent,  # has no tessella.toml
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        with suppress(ProcessLookupError):  # remaining children
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_ready(self, within: float = START_TIMEOUT) -> None:
        """Block until the server is ready.

        Raises:
            ServerError: it exited, or is not ready in time.
        """
        end = time.monotonic() + within
        while not self.is_ready():
            if self._process.poll() is not None:
                raise ServerError(f"{self.name} exited with code {self._process.returncode}: {self.log_text()[-2000:]}")
            if time.monotonic() > end:
                raise ServerError(f"{self.name} was not ready after {within:.0f} s: {self.log_text()[-2000:]}")
            time.sleep(0.1)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready_url, timeout=10) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def backend(self) -> str:
        """Backend that tessella chose for its model."""
        with urllib.request.urlopen(f"{self.url}/models", timeout=10) as response:
            return str(json.load(response)["models"][0]["backend"])

    def log_text(self) -> str:
        """Output of the process so far."""
        return self._log.read_text(errors="replace")

    def engine_processes(self) -> list[int]:
        """Ids of the engine processes that tessella has started, oldest first."""
        return [int(pid) for pid in re.findall(r"engine \d+ \(pid (\d+)\) started", self.log_text())]

    def suspend(self) -> None:
        """Stop the process group with SIGSTOP: some servers poll, which takes CPU time from the one being measured.

        Does nothing where there are engine processes: their supervisor, like Ray's, would take the pause for a hang.
        """
        if self._suspendable and not self.engine_processes():
            self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def start_tessella(settings: ServerSettings, log: Path, *options: str) -> Server:
    """Start `tessella serve` with further options."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "tessella.cli", "serve", "--port", str(port), "--model", f"bench={settings.model}"),
        *("--device", settings.device, "--dtype", settings.dtype, "--decode-threads", str(settings.threads)),
        *("--max-batch-size", str(settings.max_batch_size), *options),
    ]
    return Server("tessella", command, "/readyz", log, settings.threads, port)


def start_peer(name: str, settings: ServerSettings, log: Path) -> Server:
    """Start one of PEERS: with timm's network, or Ray with tessella's engine in one replica.

    Raises:
        ValueError: unknown peer.
    """
    if name not in PEERS:
        raise ValueError(f"unknown peer {name!r}; known peers are {', '.join(PEERS)}")
    port = free_port()
    if name == "ray":
        return _start_ray(settings, log, port)
    command = [
        *(sys.executable, "-m", f"tessella.benchmarks.service.peers.{name}_timm", "--folder", str(settings.model)),
        *("--port", str(port), "--threads", str(settings.threads), "--max-batch-size", str(settings.max_batch_size)),
        *("--device", settings.device, "--dtype", settings.dtype),
    ]
    return Server(name, command, "/health" if name == "litserve" else "/readyz", log, settings.threads, port)


def _start_ray(settings: ServerSettings, log: Path, port: int) -> Server:
    options = {
        "port": port,
        "model": f"bench={settings.model}",
        "cores": settings.threads,
        "decode_threads": settings.threads,
        "max_batch_size": settings.max_batch_size,
        "device": settings.device,
        "gpus": int(settings.device != "cpu"),
        "dtype": settings.dtype,
        "backend": settings.backend,
    }
    command = [sys.executable, "-m", "tessella.server.ray_app", *(f"{name}={value}" for name, value in options.items())]
    return Server("ray", command, "/readyz", log, settings.threads, port, suspendable=False)


@contextmanager
def all_ready(servers: list[Server]) -> Iterator[None]:
    """Context manager: wait until all servers are ready; stop all on exit, or where one does not start."""
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        for server in servers:
            server.wait_ready()
        yield


def free_port() -> int:
    """Unused port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The servers of a comparison as processes: which can be started here, how, and how each is kept still meanwhile."""

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

START_SECONDS = 600.0
PEERS = ("fastapi", "litserve", "ray")
DEFAULT_PEERS = PEERS[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What every server of a comparison gets alike.

    `model`: a folder with `model.safetensors` and timm's `config.json`.
    `threads`: of the model, and as many that decode.
    """

    model: Path
    threads: int = field(default_factory=usable_cores)
    max_batch_size: int = 32
    device: str = "cpu"
    dtype: str = "float32"
    backend: str = "auto"
    """Of tessella's engine."""


class ServerError(OSError):
    """A server did not start, or ended by itself; its last lines are in the message."""


class Server:
    """A started process and where it answers. A context manager: ends with the block, and all its children with it.

    Args:
        ready_path: is asked until it answers 200.
        log: file for what it prints.
        sleeps: it takes no harm from being stopped for a while.
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
        sleeps: bool = True,
    ) -> None:
        self.name = name
        self._sleeps = sleeps
        self.url = f"http://127.0.0.1:{port}"
        self._ready_url = self.url + ready_path
        self._log = log
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TESSELLA_")}
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=clean | {"OMP_NUM_THREADS": str(threads)},
                cwd=log.parent,  # no tessella.toml lies there
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
        with suppress(ProcessLookupError):  # children that outlived it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_ready(self, within: float = START_SECONDS) -> None:
        """Blocks until it answers.

        Raises:
            ServerError: it has ended, or does not answer in time.
        """
        end = time.monotonic() + within
        while not self.is_ready():
            if self._process.poll() is not None:
                raise ServerError(f"{self.name} ended with code {self._process.returncode}: {self.said()[-2000:]}")
            if time.monotonic() > end:
                raise ServerError(f"{self.name} was not ready after {within:.0f} s: {self.said()[-2000:]}")
            time.sleep(0.1)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready_url, timeout=10) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def backend(self) -> str:
        """The one that tessella has chosen for its model."""
        with urllib.request.urlopen(f"{self.url}/models", timeout=10) as response:
            return str(json.load(response)["models"][0]["backend"])

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def engine_processes(self) -> list[int]:
        """Ids of the engine processes that tessella has started so far, oldest first."""
        return [int(found) for found in re.findall(r"engine \d+ \(pid (\d+)\) started", self.said())]

    def suspend(self) -> None:
        """Stops the process and its group: some servers poll, and would take time from the one that is measured.

        Not where there are engine processes: a supervisor that slept would think that they had hung. So would Ray.
        """
        if self._sleeps and not self.engine_processes():
            self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def start_tessella(settings: ServerSettings, log: Path, *options: str) -> Server:
    """`tessella serve`, with further options."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "tessella.cli", "serve", "--port", str(port), "--model", f"bench={settings.model}"),
        *("--device", settings.device, "--dtype", settings.dtype, "--decode-threads", str(settings.threads)),
        *("--max-batch-size", str(settings.max_batch_size), *options),
    ]
    return Server("tessella", command, "/readyz", log, settings.threads, port)


def start_peer(name: str, settings: ServerSettings, log: Path) -> Server:
    """One of PEERS, with timm's network; Ray with tessella's own engine in one replica.

    Raises:
        ValueError: another name.
    """
    if name not in PEERS:
        raise ValueError(f"there is no peer {name!r}; there is: {', '.join(PEERS)}")
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
    given = {
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
    command = [sys.executable, "-m", "tessella.server.ray_app", *(f"{name}={value}" for name, value in given.items())]
    return Server("ray", command, "/readyz", log, settings.threads, port, sleeps=False)


@contextmanager
def all_ready(servers: list[Server]) -> Iterator[None]:
    """Waits for all of them; ends all of them with the block, or when one does not start."""
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        for server in servers:
            server.wait_ready()
        yield


def free_port() -> int:
    """A port on the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Server start and graceful shutdown for `tessella serve`: listening sockets, and one process or a supervisor."""

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..models.cpu import usable_cores
from ..models.packages import installed
from .app import create_app
from .http.auth import read_api_keys
from .http.service import Service
from .http.uvicorn_config import Server, server_config
from .lifecycle import exit_if_loading, exit_now, force_exit_after, freeze_gc, run
from .observability.metrics import Metrics
from .observability.tracing import require_tracing
from .processes.supervisor import READY, Supervisor
from .repository import ModelRepository
from .served_model import local_loader
from .settings import Settings

_log = logging.getLogger(__name__)


@contextmanager
def reserve_grpc_port(settings: Settings) -> Iterator[Settings]:
    """Context manager: reserve the gRPC port, if one is set, and return the settings with its actual number.

    All front ends listen on this port (SO_REUSEPORT); the kernel distributes connections among them.

    Raises:
        OSError: the port is in use.
        ValueError: the extra `grpc` is not installed.
    """
    if settings.grpc_port is None:
        yield settings
        return
    missing = [name for name in ("grpc", "google.protobuf") if not installed(name)]
    if missing:
        raise ValueError(f"gRPC needs the package {missing[0]}, which is not installed: pip install 'tessella[grpc]'")
    with _reserve_port(settings.host, settings.grpc_port) as reserved:
        port = reserved.getsockname()[1]
        _log.info("gRPC on %s:%d", settings.host, port)
        yield settings.model_copy(update={"grpc_port": port})


def _reserve_port(host: str, port: int) -> socket.socket:
    """Bound socket that does not listen; port 0 picks a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:  # fails if another process listens
            port = probe.getsockname()[1]
        reserved = socket.socket(family)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot listen on {host}:{port}: {reason}; try another --grpc-port") from error
    return reserved


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, finish accepted requests, and return the process's exit code.

    Raises:
        OSError: the address is in use or not available.
        ValueError: two models of one name, several devices in one process, or an invalid certificate.
    """
    keys = read_api_keys(
        settings.api_key, settings.api_key_file
    )  # read once, so that a restarted front end has the same keys
    resolved = {"frontends": frontend_count(settings), "api_key": keys, "api_key_file": None}
    settings = settings.model_copy(update=resolved)
    _validate_certificate(settings.tls_certificate, settings.tls_key)
    if settings.otlp_endpoint:
        require_tracing()
    with reserve_grpc_port(settings) as settings, listen(settings.host, settings.port) as listener:
        return _serve(settings, listener)


def _serve(settings: Settings, listener: socket.socket) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls_certificate else "http"
    address = f"{scheme}://{host}:{listener.getsockname()[1]}"
    if settings.frontends:
        _log.info("listening on %s; starting %d front ends", address, settings.frontends)

        async def supervise() -> int:
            return await Supervisor(settings, listener, address).run()

        return run(supervise())
    return _serve_in_process(settings, listener, address)


def _validate_certificate(certificate: Path | None, key: Path | None) -> None:
    """Validate the certificate before any process starts: a front end without it would exit and be restarted."""
    if certificate is None:
        if key is not None:
            raise ValueError("tls_key is set without tls_certificate: HTTPS needs both")
        return
    for file in filter(None, (certificate, key)):
        file.open().close()  # raises an OSError that names the file
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            certificate, key, password=""
        )  # an encrypted key must not prompt on the terminal
    except ssl.SSLError as error:
        files = f"{certificate} and {key} do" if key else f"{certificate} does"
        raise ValueError(f"{files} not contain a PEM certificate with its unencrypted key: {error}") from error


def frontend_count(settings: Settings) -> int:
    """Number of front-end processes: as set, else 0 if the model runs on the CPU, else one per four cores (1 to 8).

    Raises:
        ValueError: `frontends` is 0 and several devices are set.
    """
    several = "," in settings.device
    if settings.frontends == 0 and several:
        raise ValueError(f"a single process serves one device; for {settings.device}, set --frontends to at least 1")
    if settings.frontends is not None:
        return settings.frontends
    on_gpu = settings.device.startswith("cuda") or (settings.device == "auto" and Path("/dev/nvidia0").exists())
    return max(1, min(8, usable_cores() // 4)) if on_gpu or several else 0


def _serve_in_process(settings: Settings, listener: socket.socket, address: str) -> int:
    metrics = Metrics()
    repository = ModelRepository(settings, local_loader(settings, metrics))
    service = Service(settings, repository, metrics)

    def on_loaded() -> None:
        if repository.failures:
            service.draining = server.should_exit = True
        else:
            freeze_gc()
            _log.info(READY, address)

    _log.info("listening on %s; loading %s", address, ", ".join(repository.models))
    server = Server(server_config(create_app(service, on_loaded), settings))
    _handle_signals(server, service)
    server.run(sockets=[listener])
    code = 1 if repository.failures else 0
    exit_if_loading(code)
    return code


def _handle_signals(server: Server, service: Service) -> None:
    """Handle SIGTERM and SIGINT: fail readiness, stop after `drain_delay`; a second signal ends the process at once."""
    received = False

    def stop() -> None:
        server.should_exit = True

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal received
        if received:
            exit_now(128 + number)
        received = service.draining = True
        loading = service.repository.state == "loading"  # it has never been ready: nobody sends requests to it
        delay = 0.0 if loading else service.settings.drain_delay
        force_exit_after(delay + service.settings.drain_timeout)
        if delay and (loop := _running_loop()):
            loop.call_soon_threadsafe(loop.call_later, delay, stop)
        else:
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def listen(host: str, port: int) -> socket.socket:
    """Listening TCP socket; port 0 picks a free one.

    Raises:
        OSError: the address is in use or not available; the message names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot listen on {host}:{port}: {reason}; try another --port or --host") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # inherited by connections: detects dead peers
    return listener

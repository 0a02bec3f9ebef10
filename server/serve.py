"""`tessella serve`: the listening socket, one process or several behind it, and an orderly end."""

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
from .lifecycle import force_exit_after, freeze_gc, run, wait_for_threads
from .observability.metrics import Metrics
from .observability.tracing import require_tracing
from .processes.supervisor import READY, Supervisor
from .repository import ModelRepository
from .served_model import local_loader
from .settings import Settings

_log = logging.getLogger(__name__)


@contextmanager
def grpc_port(settings: Settings) -> Iterator[Settings]:
    """The settings with the port that gRPC has, where it is wanted; nobody else gets it meanwhile.

    Every process that speaks gRPC listens on this one port (SO_REUSEPORT); the kernel deals connections out to them.

    Raises:
        OSError: another process has the port.
        ValueError: the extra `grpc` is not installed.
    """
    if settings.grpc_port is None:
        yield settings
        return
    missing = [name for name in ("grpc", "google.protobuf") if not installed(name)]
    if missing:
        raise ValueError(f"{missing[0]} is missing, which gRPC needs: pip install 'tessella[grpc]'")
    with _hold(settings.host, settings.grpc_port) as held:
        port = held.getsockname()[1]
        _log.info("gRPC on %s:%d", settings.host, port)
        yield settings.model_copy(update={"grpc_port": port})


def _hold(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as alone:  # fails where anybody else listens
            port = alone.getsockname()[1]
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot listen on {host}:{port}: {reason}; try another --grpc-port") from error
    return held


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT, then answers what was accepted. Returns the process's exit code.

    Raises:
        OSError: the address cannot be listened on.
        ValueError: two models of one name, several devices in one process, or no certificate where one is named.
    """
    keys = read_api_keys(settings.api_key, settings.api_key_file)  # once: a front end that starts again has the same
    fixed = {"frontends": front_ends(settings), "api_key": keys, "api_key_file": None}
    settings = settings.model_copy(update=fixed)
    _check_certificate(settings.tls_certificate, settings.tls_key)
    if settings.otlp_endpoint:
        require_tracing()
    with grpc_port(settings) as settings, listen(settings.host, settings.port) as listener:
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
    return _serve_alone(settings, listener, address)


def _check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Before anything starts: a front end without one would end, and be started again."""
    if certificate is None:
        if key is not None:
            raise ValueError("tls_key is set and tls_certificate is not: HTTPS needs both")
        return
    for file in filter(None, (certificate, key)):
        file.open().close()  # whose error names it
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")  # never ask a terminal
    except ssl.SSLError as error:
        named = f"{certificate} and {key} hold" if key else f"{certificate} holds"
        raise ValueError(f"{named} no certificate with its key in PEM, unencrypted: {error}") from error


def front_ends(settings: Settings) -> int:
    """How many front-end processes: as set; none where a CPU runs the model, else one for every four cores.

    Raises:
        ValueError: none, although there are several devices.
    """
    several = "," in settings.device
    if settings.frontends == 0 and several:
        raise ValueError(f"one process serves one device; for {settings.device} set --frontends to 1 or more")
    if settings.frontends is not None:
        return settings.frontends
    on_gpu = settings.device.startswith("cuda") or (settings.device == "auto" and Path("/dev/nvidia0").exists())
    return max(1, min(8, usable_cores() // 4)) if on_gpu or several else 0


def _serve_alone(settings: Settings, listener: socket.socket, address: str) -> int:
    metrics = Metrics()
    repository = ModelRepository(settings, local_loader(settings, metrics))
    service = Service(settings, repository, metrics)

    def on_loaded() -> None:
        if repository.failures:
            server.should_exit = True
        else:
            freeze_gc()
            _log.info(READY, address)

    _log.info("listening on %s; loading %s", address, ", ".join(repository.models))
    server = Server(server_config(create_app(service, on_loaded), settings))
    _handle_signals(server, service)
    server.run(sockets=[listener])
    wait_for_threads()
    return 1 if repository.failures else 0


def _handle_signals(server: Server, service: Service) -> None:
    """Handle SIGTERM and SIGINT: serve on, not ready, for `drain_delay` after the first; a second one ends that."""
    delay = service.settings.drain_delay

    def stop(number: int) -> None:
        server.force_exit |= server.should_exit and number == signal.SIGINT
        server.should_exit = True

    def on_signal(number: int, _: FrameType | None) -> None:
        again, service.draining = service.draining, True
        if not again:
            force_exit_after(delay + service.settings.drain_timeout)
        if again or not delay or not (loop := _running_loop()):
            stop(number)
        else:
            loop.call_soon_threadsafe(loop.call_later, delay, stop, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises:
        OSError: with the address and a way out in its message.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot listen on {host}:{port}: {reason}; try another --port or --host") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections inherit it: a dead peer is noticed
    return listener

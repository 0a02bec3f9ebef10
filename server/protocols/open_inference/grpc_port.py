"""The port of the gRPC servers, held for all processes of the service. Does not need the extra."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ....models.packages import installed
from ...settings import Settings

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

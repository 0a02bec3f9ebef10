"""`tessella serve`: the socket, the uvicorn server on it, and an orderly end. The only place that knows uvicorn."""

import logging
import signal
import socket

import uvicorn

from .app import create_app
from .repository import ModelRepository
from .settings import Settings

_log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT, then answers what was accepted. Returns the process's exit code.

    Raises:
        OSError: the address cannot be listened on.
        ValueError: two models of one name.
    """
    repository = ModelRepository(settings)
    listener = listen(settings.host, settings.port)
    address = "http://{}:{}".format(
        settings.host if ":" not in settings.host else f"[{settings.host}]", listener.getsockname()[1]
    )

    def on_loaded(repository: ModelRepository) -> None:
        if repository.failures:
            server.should_exit = True
        else:
            _log.info("ready: open %s in a browser, or post an image to %s/classify", address, address)

    _log.info("listening on %s; loading %s", address, ", ".join(repository.models))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, repository, on_loaded),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=round(settings.drain_timeout) or None,
        )
    )
    # uvicorn raises the signal again once it has drained; an orderly end is not a failure
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
    return 1 if repository.failures else 0


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises:
        OSError: with the address and a way out in its message.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; try another --port or --host"
        ) from error

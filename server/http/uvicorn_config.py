"""All that reaches into uvicorn: the bounded head of a request, and a server without signal handlers. Knows no route.

`tests/server/http/test_uvicorn_config_version.py` names what a new version of uvicorn has changed of it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..settings import Settings
from .error_responses import failure

MOST_HEAD_BYTES = 1 << 16
"""Of a request line and its headers together. What comes in one read is not counted before it is parsed."""
_LINGER_SECONDS = 1.0


class Server(uvicorn.Server):
    """HTTP server that leaves signals to its caller, who sets `should_exit` to stop it.

    By itself uvicorn takes SIGTERM and SIGINT, and raises them again once it has drained.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_config(app: object, settings: Settings) -> uvicorn.Config:
    """Options of uvicorn for the application; its logs and access log are ours."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=partial(Connection, head_seconds=settings.timeout_ms / 1e3),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )


class Connection(HttpToolsProtocol):
    """HTTP connection of a client whose request heads are bounded in bytes and in time, as bodies are elsewhere.

    uvicorn alone keeps a head of any size for as long as its client likes.

    Args:
        head_seconds: how long the whole head may take, from the connection or from its first byte on.
        others: uvicorn's own.
    """

    def __init__(self, *, head_seconds: float, **others: Any) -> None:
        super().__init__(**others)
        self._head_seconds = head_seconds
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        """While a head is being waited for."""
        self._head_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_transport = transport
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_refused:
            return
        super().data_received(data)
        if self._head_timer is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(431, f"the request's head is larger than {MOST_HEAD_BYTES:,} bytes", "too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._stop_timer()
        self._head_bytes = 0
        self._head_timer = asyncio.get_running_loop().call_later(self._head_seconds, self._on_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_late(self) -> None:
        if self._head_bytes == 0:  # a browser that connected in advance
            self._head_transport.close()
            return
        message = f"the request's head did not come within {self._head_seconds:g} s"
        self._refuse(408, message, "deadline_exceeded")

    def _refuse(self, status: int, message: str, error_type: str) -> None:
        """Answers and closes; a little later, as unread bytes would take the answer with them."""
        self._stop_timer()
        transport = self._head_transport
        if transport.is_closing():
            return
        self._head_refused = True
        answer = failure(status, message, error_type)
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        headers = [b"%b: %b\r\n" % header for header in (*answer.raw_headers, (b"connection", b"close"))]
        transport.write(b"".join([line, *headers, b"\r\n", answer.body]))
        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.close)

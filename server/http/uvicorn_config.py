"""Uvicorn configuration: request heads, no upgrades, and a shutdown that loses no request. No routes.

All overrides of uvicorn are in this file; `tests/server/http/test_uvicorn_config_version.py` checks them against the
installed version.
"""

import asyncio
import socket
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..lifecycle import TaskSet
from ..settings import Settings
from .error_responses import error_response

MAX_HEADER_BYTES = 1 << 16
"""Limit for the request line and headers together. Bytes are counted after the read that brings them is parsed."""
_LINGER_SECONDS = 1.0
_POLL_SECONDS = 0.02


class Server(uvicorn.Server):
    """HTTP server without signal handlers; the caller sets `should_exit` to stop it.

    Uvicorn's own server handles SIGTERM and SIGINT, and raises them again once it has drained. It closes the listener
    with connections in its accept queue, and idle connections with requests that are not read yet: both lose requests.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests of all connections made so far, then close.

        The accept queue is emptied and the listener closed at once. New and idle connections have a second for a
        request on its way. Requests that are not answered within the graceful timeout are cancelled.
        """
        loop = asyncio.get_running_loop()
        timeout = self.config.timeout_graceful_shutdown or 0
        start = loop.time()
        connecting = TaskSet()
        for listener, server in zip(sockets or (), self.servers, strict=True):
            connections = _accept_all(listener)
            server.close()
            for connection in connections:
                connecting.start(self._connect(connection))
        await self._linger(start + min(_LINGER_SECONDS, timeout))
        connecting.cancel()
        elapsed = loop.time() - start
        self.config.timeout_graceful_shutdown = max(_POLL_SECONDS, timeout - elapsed)  # type: ignore[assignment]
        await super().shutdown(sockets)

    async def _connect(self, connection: socket.socket) -> None:
        """Serve an accepted connection, as uvicorn serves those that the event loop accepts."""
        loop = asyncio.get_running_loop()
        protocol = partial(
            cast(type[Connection], self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=loop,
        )
        connection.setblocking(False)
        with suppress(OSError):  # a failed TLS handshake
            await loop.connect_accepted_socket(protocol, connection, ssl=self.config.ssl)

    async def _linger(self, end: float) -> None:
        """Wait until no connection is idle, or `end`. During a TLS handshake a connection is not known yet."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(_POLL_SECONDS)
        while loop.time() < end and (self.config.ssl or any(map(_is_idle, self.server_state.connections))):
            await asyncio.sleep(_POLL_SECONDS)


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """All connections in the accept queue."""
    listener.setblocking(False)
    connections = []
    while True:
        try:
            connections.append(listener.accept()[0])
        except ConnectionError:  # the client has disconnected
            continue
        except OSError:  # BlockingIOError: the queue is empty
            return connections


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete


def server_config(app: object, settings: Settings) -> uvicorn.Config:
    """Uvicorn options for the application. Logging is configured elsewhere, and the access log is our own."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=partial(Connection, header_timeout=settings.timeout_ms / 1e3),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )


class RequestParser(httptools.HttpRequestParser):
    """HTTP request parser that ignores offers to upgrade (RFC 9110, 7.8): the body keeps its framing.

    httptools ends a message with its headers if they offer an upgrade, and parses the body as the next request. Such a
    head is parsed a second time without the offer.

    Args:
        connection: receives the parser's calls.
    """

    def __init__(self, connection: "Connection") -> None:
        super().__init__(connection)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._connection = connection

    def feed_data(self, data: "bytes | bytearray | memoryview | array[int]") -> None:
        remaining = memoryview(data)
        while remaining:
            try:
                super().feed_data(remaining)
            except httptools.HttpParserUpgrade as upgrade:
                remaining = remaining[upgrade.args[0] :]
                if self.get_method() == b"CONNECT":
                    self._connection.reject(501, "CONNECT is not supported: this is not a proxy", "unsupported")
                    return
                super().feed_data(self._head_without_upgrade())
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        connection = self._connection
        line = b"%b %b HTTP/%b\r\n" % (self.get_method(), connection.url, self.get_http_version().encode())
        headers = [b"%b: %b\r\n" % header for header in connection.headers if header[0] != b"upgrade"]
        return b"".join([line, *headers, b"\r\n"])


class Connection(HttpToolsProtocol):
    """HTTP connection that limits the request line and headers in bytes and in time; bodies have limits elsewhere.

    Uvicorn itself has neither limit. Requests that cannot be parsed are answered in the JSON shape of all errors.

    Args:
        header_timeout: seconds for the request line and headers, from the start of the connection or their first byte.
        options: uvicorn's own.
    """

    def __init__(self, *, header_timeout: float, **options: Any) -> None:
        super().__init__(**options)
        self.parser = RequestParser(self)
        self._header_timeout = header_timeout
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        """Set while the end of the headers is awaited."""
        self._rejected = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._raw_transport = transport
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._rejected:
            return
        super().data_received(data)
        if self._header_timer is None:
            return
        self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            self.reject(431, f"the request line and headers exceed {MAX_HEADER_BYTES:,} bytes", "too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():  # otherwise the parser repeats the head
            self._stop_timer()
            self.scope["state"]["pipeline"] = self.pipeline
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self.reject(400, f"not a valid HTTP request: {msg}", "bad_request")

    def shutdown(self) -> None:
        if self._header_timer is not None and self._header_bytes:
            self.reject(503, "the service is shutting down", "not_ready")
        else:
            super().shutdown()

    def _expect_headers(self) -> None:
        self._stop_timer()
        self._header_bytes = 0
        self._header_timer = asyncio.get_running_loop().call_later(self._header_timeout, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _on_timeout(self) -> None:
        if self._header_bytes == 0:  # a browser's preconnection
            self._raw_transport.close()
            return
        message = f"the request line and headers did not arrive within {self._header_timeout:g} s"
        self.reject(408, message, "deadline_exceeded")

    def reject(self, status: int, message: str, error_type: str) -> None:
        """Send an error and close with a delay: closing with unread bytes would reset the connection and lose it.

        If an earlier request is being answered, the connection closes after that response instead.
        """
        self._stop_timer()
        transport = self._raw_transport
        if self._rejected or transport.is_closing():
            return
        self._rejected = True
        if self._is_answering():
            return
        response = error_response(status, message, error_type)
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        headers = [b"%b: %b\r\n" % header for header in (*response.raw_headers, (b"connection", b"close"))]
        transport.write(b"".join([line, *headers, b"\r\n", response.body]))
        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.close)

    def _is_answering(self) -> bool:
        """True if a request before the rejected one will still be answered; the connection then closes."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        if cycle.response_started or not cycle.more_body:
            cycle.keep_alive = False
            return True
        if self.pipeline:  # the rejected request waits behind others
            self.pipeline.popleft()
            return True
        cycle.disconnected = True  # the application must not answer as well
        cycle.message_event.set()
        return False

"""A client's connection: the head of a request is bounded in bytes and in time, as its body is. Knows no route."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .responses import failure

MOST_HEAD_BYTES = 1 << 16
"""Of a request line and its headers together. What comes in one read is not counted before it is parsed."""
_LINGER_SECONDS = 1.0


class Connection(HttpToolsProtocol):
    """uvicorn's, which alone keeps a head of any size for as long as its client likes.

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
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
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
        self._head_timer = self.loop.call_later(self._head_seconds, self._on_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_late(self) -> None:
        if self._head_bytes == 0:  # a browser that connected in advance
            self.transport.close()
            return
        message = f"the request's head did not come within {self._head_seconds:g} s"
        self._refuse(408, message, "deadline_exceeded")

    def _refuse(self, status: int, message: str, error_type: str) -> None:
        """Answers and closes; a little later, as unread bytes would take the answer with them."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        self._refused = True
        answer = failure(status, message, error_type)
        headers = [b"%b: %b\r\n" % header for header in (*answer.raw_headers, (b"connection", b"close"))]
        self.transport.write(b"".join([STATUS_LINE[status], *headers, b"\r\n", answer.body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

"""HTTP server for image URLs that sends the same bytes to every client, well-formed or not."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\n"


class Site:
    """Server that sends `pieces` with a pause after each.

    `requests`: what it has received. `aborted`: a client closed its connection before everything was sent.
    """

    def __init__(self, listener: socket.socket, pieces: tuple[bytes, ...], pause: float = 0) -> None:
        self.port: int = listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.aborted = threading.Event()
        self._listener, self._pieces, self._pause = listener, pieces, pause
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def host(self) -> str:
        """Address and port, as in a URL."""
        return f"127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except ssl.SSLError:
                continue
            except OSError:
                return
            threading.Thread(target=self._respond, args=[connection], daemon=True).start()

    def _respond(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.requests.append(connection.recv(1 << 16))
                for piece in self._pieces:
                    connection.sendall(piece)
                    time.sleep(self._pause)
            except OSError:
                self.aborted.set()


def response(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """HTTP response; each of `headers` ends with CRLF."""
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, headers, len(body), body)


@contextmanager
def image_site(*pieces: bytes, address: str = "127.0.0.1", port: int = 0, pause: float = 0) -> Iterator[Site]:
    """Context manager: a `Site` that listens on `address`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family)
    try:
        yield Site(listener, pieces, pause)
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

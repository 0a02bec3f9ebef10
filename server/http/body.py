"""Request bodies: each read up to its limit, all together never more than a budget. Knows no image."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from fastapi import Request

from ..errors import BadRequest, DeadlineExceeded, Overloaded, RequestTooLarge, UnsupportedMediaType


class BodyBudget:
    """Bytes of request bodies that one process holds at once. Belongs to its event loop.

    Args:
        limit: bytes; a body that does not fit is refused before it is read.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def hold(self, count: int) -> None:
        """Takes `count` bytes, to be given back when the request is answered.

        Raises:
            Overloaded: they do not fit; nothing was taken.
        """
        if self.held + count > self.limit:
            raise Overloaded(
                f"requests with {self.held:,} bytes are in the queue and {count:,} more do not fit: "
                f"at most {self.limit:,} bytes are accepted at once"
            )
        self.held += count

    def give_back(self, count: int) -> None:
        self.held -= count


async def read_body(request: Request) -> bytes:
    """The body as it was sent. Its bytes count against the service's budget until the request is answered.

    Raises:
        UnsupportedMediaType: it is compressed.
        RequestTooLarge: it is larger than `max_body_bytes`; not more than that was read.
        Overloaded: the budget is used up; where the length was announced, nothing was read.
        DeadlineExceeded: nothing more of it came for `timeout_ms`.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("compressed bodies are not read; send the image as it is")
    return await read_raw_body(request)


async def read_raw_body(request: Request) -> bytes:
    """As `read_body`, for a caller who decompresses."""
    service, context = request.app.state.service, request.state.context
    limit: int = service.settings.max_body_bytes
    too_large = RequestTooLarge(f"the body is larger than {limit:,} bytes")
    announced = int(request.headers.get("content-length", 0))
    if announced > limit:
        raise too_large

    hold(request, announced)
    body = bytearray()
    async for chunk in _prompt(request, service.settings.timeout_ms / 1e3):
        body += chunk
        if len(body) > limit:
            raise too_large
        if len(body) > context.body_bytes:
            hold(request, len(body) - context.body_bytes)
    return bytes(body)


async def _prompt(request: Request, seconds: float) -> AsyncIterator[bytes]:
    """Its chunks, each within so many seconds of the one before: a body that never comes must not hold its bytes."""
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no more of the body came within {seconds:g} s") from error
        if chunk is None:
            return
        yield chunk


def hold(request: Request, count: int) -> None:
    """Counts `count` bytes more against the service's budget until the request is answered.

    Raises:
        Overloaded: the budget is used up.
    """
    request.app.state.service.bodies.hold(count)
    request.state.context.body_bytes += count


_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's window of each content encoding that is read: with gzip's frame, with zlib's."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undoes a `Content-Encoding`: gzip, deflate or identity.

    Raises:
        UnsupportedMediaType: another encoding.
        BadRequest: the body is not what the encoding says.
        RequestTooLarge: it holds more than `limit` bytes; no more than that was decompressed.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW:
        raise UnsupportedMediaType(f"content encoding {encoding!r} is not read; use gzip, deflate or none")
    stream = zlib.decompressobj(_WINDOW[encoding])
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not {encoding}: {error}") from error
    if len(content) > limit:
        raise RequestTooLarge(f"the body holds more than {limit:,} bytes when it is decompressed")
    if not stream.eof or stream.unused_data:
        raise BadRequest(f"the {encoding} body is {'followed by other bytes' if stream.eof else 'cut off'}")
    return content

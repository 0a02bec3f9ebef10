"""Request bodies: each read up to its limit, all together within a budget of bytes. No images."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from ..errors import BadRequest, DeadlineExceeded, NotReady, Overloaded, RequestTooLarge, UnsupportedMediaType

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's window size for each supported content encoding, which also selects the gzip or the zlib format."""


Model = TypeVar("Model", bound=BaseModel)


class BodyBudget:
    """Bytes of request bodies that one process may hold at once. Not thread-safe: belongs to one event loop.

    Args:
        limit: bytes; a body that does not fit is rejected before it is read.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0

    def reserve(self, count: int) -> None:
        """Reserve `count` bytes, to be released once the request has been answered.

        Raises:
            Overloaded: they do not fit; nothing is reserved.
        """
        if self.reserved + count > self.limit:
            raise Overloaded(
                f"the bodies of requests in progress hold {self.reserved:,} bytes; {count:,} more would exceed the "
                f"limit of {self.limit:,}; retry later"
            )
        self.reserved += count

    def release(self, count: int) -> None:
        """Release `count` reserved bytes."""
        self.reserved -= count


async def read_body(request: Request) -> bytes:
    """Body of a request. Its bytes are reserved from the service's budget until the request has been answered.

    Raises:
        UnsupportedMediaType: it is compressed.
        RequestTooLarge: it is larger than `max_body_bytes`; reading stopped there.
        Overloaded: the budget is exhausted; with a Content-Length, nothing was read.
        DeadlineExceeded: no data arrived for `timeout_ms`.
        NotReady: the same, while the service is shutting down.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("compressed bodies are not supported here; send the body without Content-Encoding")
    return await read_raw_body(request)


async def read_raw_body(request: Request) -> bytes:
    """Body of a request as `read_body` returns it, but possibly compressed; the caller decompresses it."""
    service, context = request.app.state.service, request.state.context
    limit: int = service.settings.max_body_bytes
    too_large = RequestTooLarge(f"the request body exceeds {limit:,} bytes")
    announced = int(request.headers.get("content-length", 0))
    if announced > limit:
        raise too_large

    reserve_bytes(request, announced)
    body = bytearray()
    async for chunk in _chunks(request, service.settings.timeout_ms / 1e3):
        body += chunk
        if len(body) > limit:
            raise too_large
        if len(body) > context.body_bytes:
            reserve_bytes(request, len(body) - context.body_bytes)
    return bytes(body)


def reserve_bytes(request: Request, count: int) -> None:
    """Reserve `count` more bytes from the service's budget until the request has been answered.

    Raises:
        Overloaded: the budget is exhausted.
    """
    request.app.state.service.body_budget.reserve(count)
    request.state.context.body_bytes += count


def parse_json(body: bytes, model: type[Model]) -> Model:
    """Parse and validate a JSON body.

    Raises:
        BadRequest: it is not valid; the message gives location and cause of the first three errors.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = [
            ": ".join([*([".".join(map(str, part["loc"]))] if part["loc"] else []), part["msg"]])
            for part in error.errors(include_url=False)[:3]
        ]
        raise BadRequest(f"invalid JSON body: {'; '.join(details)}") from error


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Decompress a body by its `Content-Encoding`: gzip, deflate or identity.

    Raises:
        UnsupportedMediaType: another encoding.
        BadRequest: the body is not valid data of that encoding.
        RequestTooLarge: it decompresses to more than `limit` bytes; decompression stopped there.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedMediaType(f"content encoding {encoding!r} is not supported; use gzip, deflate or none")
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not valid {encoding} data: {error}") from error
    if len(content) > limit:
        raise RequestTooLarge(f"the decompressed body exceeds {limit:,} bytes")
    if not stream.eof:
        raise BadRequest(f"the {encoding} body is truncated")
    if stream.unused_data:
        raise BadRequest(f"the {encoding} body is followed by other data")
    return content


async def _chunks(request: Request, timeout: float) -> AsyncIterator[bytes]:
    """Chunks of a body, each within `timeout` seconds: a stalled upload must not keep its bytes reserved."""
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(timeout):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            message = f"no data of the request body arrived within {timeout:g} s"
            if request.app.state.service.draining:
                raise NotReady(f"{message}; the service is shutting down") from error
            raise DeadlineExceeded(message) from error
        if chunk is None:
            return
        yield chunk

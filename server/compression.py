"""Compressed bodies, decompressed up to a limit: a kilobyte may hold a gigabyte."""

import zlib

from .errors import BadRequest, RequestTooLarge, UnsupportedMediaType

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

"""Who may use the service: API keys, compared in constant time. Pages, documentation and health are open.

What changes the service itself, an *admin* route, is for whoever has a key, or for this machine where no key is set.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import Forbidden
from .responses import failure
from .state import service_of

OPEN_PATHS = ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics")
OPEN_FOLDERS = ("/ui/", "/docs-assets/", "/docs/")


class AccessMiddleware:
    """Answers 401 to a request without one of the keys, in `Authorization: Bearer …` or `x-api-key`.

    Args:
        keys: none: everybody may do everything.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self.app = app
        self._digests = [_digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open(scope) or self._knows(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        response = failure(401, "no valid API key; send it as 'Authorization: Bearer …' or 'x-api-key'", "unauthorized")
        response.headers["www-authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path: str = scope["path"]
        reading = scope["method"] in ("GET", "HEAD", "OPTIONS")
        return not self._digests or (reading and (path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)))

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = _digest(token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", ""))
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]  # never stops at the first
        return any(matches)


async def require_admin(request: Request) -> None:
    """A dependency of admin routes: with keys set, AccessMiddleware has seen one; without, only this machine may.

    A page of another origin that is open in a browser on this machine may not, whatever name it reaches it by.

    Raises:
        Forbidden: the request comes from elsewhere.
    """
    settings = service_of(request).settings
    if settings.api_key or settings.api_key_file:
        return
    host, origin = request.url.hostname or "", request.headers.get("origin")
    if not (is_loopback(request.client.host if request.client else "") and is_loopback(host)):
        raise Forbidden("without an API key this is only for requests from this machine; start with --api-key")
    if origin is not None and urlsplit(origin).netloc != request.url.netloc:
        raise Forbidden(f"a page of {origin} may not do this; start with --api-key")


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def read_keys(keys: Sequence[str], file: Path | None) -> tuple[str, ...]:
    """Those given, and those in the file: one a line; empty lines and lines that begin with # are passed over.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no key.
    """
    if file is None:
        return tuple(keys)
    lines = (line.strip() for line in file.read_text().splitlines())
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise ValueError(f"{file} holds no API key; write one a line")
    return (*keys, *found)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()

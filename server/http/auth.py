"""Who may use the service: API keys, compared in constant time. Pages, documentation and health are open.

What changes the service itself, an *admin* route, is for whoever has a key, or for this machine where no key is set.
"""

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import Forbidden
from .error_responses import failure
from .rate_limit import RateLimiter
from .service import service_of

OPEN_PATHS = ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
OPEN_FOLDERS = ("/ui/", "/docs-assets/", "/docs/")


class Keys:
    """The keys of a service; false where it has none, and everybody may do everything.

    Args:
        limiter: of the keys, by their place.
    """

    def __init__(self, keys: Sequence[str], limiter: RateLimiter | None = None) -> None:
        self._digests = [_digest(key) for key in keys]
        self._limiter = limiter

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, headers: Mapping[str, Any]) -> float | None:
        """Seconds until a request may pass, 0 for at once; None: it carries none of the keys.

        Args:
            headers: with names in lower case; the key is in `authorization: Bearer …` or `x-api-key`.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = _digest(token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", ""))
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]  # never stops at the first
        if not any(matches):
            return None
        return self._limiter.admit(matches.index(True)) if self._limiter else 0.0


class AccessMiddleware:
    """Answers 401 to a request without one of the keys, and 429 to one that comes too soon after others of its key."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self.app
        if scope["type"] == "http" and self._keys and not is_open(scope["path"], scope["method"]):
            answer = self._refusal(Headers(scope=scope), scope["path"]) or self.app
        await answer(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> JSONResponse | None:
        wait = self._keys.admit(headers)
        if wait is None:
            message = "no valid API key; send it as 'Authorization: Bearer …' or 'x-api-key'"
            response = failure(401, message, "unauthorized", path)
            response.headers["www-authenticate"] = "Bearer"
            return response
        if not wait:
            return None
        message = f"this key's requests come too fast; the next may come in {wait:.3f} s"
        response = failure(429, message, "rate_limited", path)
        response.headers["retry-after"] = str(math.ceil(wait))
        return response


def is_open(path: str, method: str) -> bool:
    """Whether a request needs no key where keys are set."""
    return method in ("GET", "HEAD", "OPTIONS") and (path in OPEN_PATHS or path.startswith(OPEN_FOLDERS))


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

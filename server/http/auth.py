"""API keys, compared in constant time, and access to admin routes. Pages, documentation and health checks are public.

*Admin* routes change the service itself. They require a key, or, if none is configured, a client on this machine.
"""

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import Forbidden
from .error_responses import error_response
from .rate_limit import RateLimiter
from .service import service_of

PUBLIC_PATHS = (
    "/",
    "/docs",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/health",
    "/ping",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
)
PUBLIC_PREFIXES = ("/ui/", "/docs-assets/", "/docs/")
_PROXY_HEADERS = ("via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


class ApiKeys:
    """API keys of a service. False if there are none: every client then has access.

    Args:
        limiter: rate limiter for the keys, by index.
    """

    def __init__(self, keys: Sequence[str], limiter: RateLimiter | None = None) -> None:
        self._digests = [_digest(key) for key in keys]
        self._limiter = limiter

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, headers: Mapping[str, Any]) -> float | None:
        """Admit a request by its headers: 0, seconds to wait if its rate is exceeded, or None without a valid key.

        Args:
            headers: with lower-case names; the key is in `authorization: Bearer …` or `x-api-key`.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = _digest(token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", ""))
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]  # all of them: constant time
        if not any(matches):
            return None
        return self._limiter.admit(matches.index(True)) if self._limiter else 0.0


class ApiKeyMiddleware:
    """ASGI middleware that answers 401 without a valid API key, and 429 above the key's rate limit."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self.app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http" and self._keys and not is_public_route(scope["path"], scope["method"]):
            app = self._rejection(Headers(scope=scope), scope["path"]) or self.app
        await app(scope, receive, send)

    def _rejection(self, headers: Headers, path: str) -> JSONResponse | None:
        wait = self._keys.admit(headers)
        if wait is None:
            message = "missing or invalid API key; send it as 'Authorization: Bearer …' or 'x-api-key'"
            response = error_response(401, message, "unauthorized", path)
            response.headers["www-authenticate"] = "Bearer"
            return response
        if not wait:
            return None
        response = error_response(429, rate_limit_message(wait), "rate_limited", path)
        response.headers["retry-after"] = str(math.ceil(wait))
        return response


def rate_limit_message(wait: float) -> str:
    """Error message for a request above its key's rate limit. `wait`: in seconds."""
    return f"the rate limit of this API key is exceeded; retry in {wait:.3f} s"


def is_public_route(path: str, method: str) -> bool:
    """Check whether a request needs no API key even if keys are configured."""
    return method in ("GET", "HEAD", "OPTIONS") and (path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES))


async def require_admin(request: Request) -> None:
    """Dependency of admin routes: without configured keys, only clients on this machine have access.

    With keys, `ApiKeyMiddleware` has checked one. Without, cross-origin requests are rejected as well, and so are those
    to another host name: a web page open in a browser on this machine must not reach admin routes (DNS rebinding).
    Requests through a proxy are not local either, wherever the proxy runs.

    Raises:
        Forbidden: the request is from another machine, a proxy or another origin.
    """
    settings = service_of(request).settings
    if settings.api_key or settings.api_key_file:
        return
    host, origin = request.url.hostname or "", request.headers.get("origin")
    if not (is_loopback(request.client.host if request.client else "") and is_loopback(host)):
        raise Forbidden("this route accepts only local requests unless an API key is configured; set --api-key")
    if is_forwarded(request.headers):
        raise Forbidden("this route accepts no request through a proxy unless an API key is configured; set --api-key")
    if origin is not None and urlsplit(origin).netloc != request.url.netloc:
        raise Forbidden(
            f"this route accepts no request from origin {origin} unless an API key is configured; set --api-key"
        )


def is_forwarded(headers: Container[Any]) -> bool:
    """Check whether a proxy has forwarded a request, by its headers with lower-case names."""
    return any(name in headers for name in _PROXY_HEADERS)


def is_loopback(host: str) -> bool:
    """Check whether `host`, a name or an address, is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def read_api_keys(keys: Sequence[str], file: Path | None) -> tuple[str, ...]:
    """API keys from settings and from a file with one per line; empty lines and comments (#) are skipped.

    Raises:
        OSError: the file cannot be read.
        ValueError: it contains no key.
    """
    if file is None:
        return tuple(keys)
    lines = (line.strip() for line in file.read_text().splitlines())
    from_file = tuple(line for line in lines if line and not line.startswith("#"))
    if not from_file:
        raise ValueError(f"{file} contains no API key; write one per line")
    return (*keys, *from_file)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()

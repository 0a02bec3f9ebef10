"""Image URLs in requests, fetched over HTTP from allowed hosts only. Disabled by default.

Redirects, proxies and cookies are not used. The addresses of a host are resolved once, must all be public, and are
those connected to, so that a DNS record cannot change to an internal address after the check (DNS rebinding). A host
that is allowed by its address may be private.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import httpx

from ... import __version__
from ..errors import BadRequest, RequestTooLarge, ServiceError

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CONCURRENT_FETCHES = 16
_HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": f"tessella/{__version__}"}
_NO_TIMEOUT = httpx.Timeout(None)
"""For single reads and writes: one timeout covers the whole fetch."""


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """URL of an image in a request, to be replaced by the image."""

    url: str


class UrlFetcher:
    """Image fetcher of one service. Belongs to one event loop.

    Args:
        hosts: allowed ones, as `images.example.org`, `*.example.org` (all subdomains), `10.0.0.5`, `[::1]` or
            `host:8080`; without a port, the default ports of http and https. Empty: fetching is disabled.
        max_bytes: of all images of one request.
        timeout: seconds for one image, from resolving the host name to the last byte.
    """

    def __init__(self, hosts: Sequence[str], *, max_bytes: int, timeout: float) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._semaphore = asyncio.Semaphore(_CONCURRENT_FETCHES)
        self._resolvers = ThreadPoolExecutor(_CONCURRENT_FETCHES, "resolve")  # a slow name server blocks nothing else

    async def fetch_all(
        self, images: Sequence[bytes | ImageUrl | ServiceError], reserve: Callable[[int], None]
    ) -> list[bytes | ServiceError]:
        """Replace each URL by the image, or by an error if it cannot be fetched; concurrently.

        Args:
            reserve: reserves bytes for an image that was fetched from the budget of request bodies.

        Raises:
            Overloaded: by `reserve`.
        """
        limit = _ByteLimit(self._max_bytes, self._max_bytes)

        async def replace(image: bytes | ImageUrl | ServiceError) -> bytes | ServiceError:
            if not isinstance(image, ImageUrl):
                return image
            result = await self._fetch(image.url, limit)
            if isinstance(result, bytes):
                reserve(len(result))
            return result

        tasks = [asyncio.ensure_future(replace(image)) for image in images]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:  # after an error, none may reserve bytes that are never released
                task.cancel()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _fetch(self, url: str, limit: "_ByteLimit") -> bytes | ServiceError:
        try:
            checked = self._check(url)
            async with asyncio.timeout(self._timeout), self._semaphore:
                return await self._get(checked, limit)
        except ServiceError as error:
            return error
        except TimeoutError:
            return BadRequest(f"fetching the image URL took longer than {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return BadRequest(f"the image URL could not be fetched: {str(error) or type(error).__name__}")

    def _check(self, url: str) -> httpx.URL:
        """Parse and check a URL. It is not parsed again: two parsers may disagree about the host of one URL."""
        if not self._hosts:
            raise BadRequest("fetching image URLs is disabled; send the image itself as base64 or a data URI")
        parsed = httpx.URL(url)
        if parsed.scheme not in _PORTS or not parsed.host or parsed.userinfo:
            raise BadRequest("an image URL must have the form https://host/path, without user name or password")
        if _port(parsed) > 65535:
            raise ValueError(f"port {parsed.port} is out of range")
        if not any(_matches(allowed, parsed) for allowed in self._hosts):
            host = parsed.netloc.decode("ascii")
            raise BadRequest(f"image host {host} is not allowed; allowed hosts: {', '.join(self._hosts)}")
        return parsed

    async def _get(self, url: httpx.URL, limit: "_ByteLimit") -> bytes:
        """Fetch the image at `url`, with a new client: hosts share no cookies or connections."""
        transport = _CheckedTransport(self._resolve, self._tls)
        async with (
            httpx.AsyncClient(transport=transport, trust_env=False, timeout=_NO_TIMEOUT) as client,
            client.stream("GET", url, headers=_HEADERS, follow_redirects=False) as response,
        ):
            return await _read(response, limit)

    async def _resolve(self, host: str, port: int) -> list[str]:
        """Addresses of a host; those of a host name must all be public.

        Raises:
            BadRequest: one is private, loopback or otherwise special.
        """
        with suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        loop = asyncio.get_running_loop()
        entries = await loop.run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        for address in addresses:
            if not is_public(address):
                raise BadRequest(f"image host {host} resolves to {address}, which is not a public address")
        return addresses


class _CheckedTransport(httpx.AsyncBaseTransport):
    """HTTP transport that connects to the addresses from `resolve`, and verifies certificates for the host name."""

    def __init__(self, resolve: Callable[[str, int], Awaitable[list[str]]], tls: ssl.SSLContext) -> None:
        self._resolve = resolve
        self._transport = httpx.AsyncHTTPTransport(verify=tls, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        host = url.raw_host.decode("ascii")
        request.extensions = {**request.extensions, "sni_hostname": host}
        last_error: httpx.ConnectError | None = None
        for address in await self._resolve(host, _port(url)):
            request.url = url.copy_with(host=address)  # the Host header keeps the name
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError as error:
                last_error = error
        raise last_error or httpx.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        await self._transport.aclose()


@dataclass(slots=True)
class _ByteLimit:
    """Limit of a request's images in bytes, and what remains of it."""

    total: int
    remaining: int


async def _read(response: httpx.Response, limit: _ByteLimit) -> bytes:
    if response.status_code != 200:
        hint = "; redirects are not followed" if response.is_redirect else ""
        raise BadRequest(
            f"the server of the image URL returned {response.status_code} {response.reason_phrase}, not 200{hint}"
        )
    if (encoding := response.headers.get("content-encoding", "identity")) != "identity":  # could expand a thousandfold
        raise BadRequest(f"the image at the URL is sent with content encoding {encoding}; it must be sent without one")
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            limit.remaining -= len(chunk)
            if limit.remaining < 0:
                raise RequestTooLarge(f"the images at the URLs exceed {limit.total:,} bytes")
            body += chunk
    except (httpx.ReadError, httpx.RemoteProtocolError) as error:
        raise BadRequest("the connection to the server of the image URL closed before the end of the image") from error
    return bytes(body)


def _port(url: httpx.URL) -> int:
    return url.port or _PORTS[url.scheme]


def _matches(allowed: str, url: httpx.URL) -> bool:
    hosts = {f"[{host}]" if ":" in host else host for host in (url.host, url.raw_host.decode("ascii"))}
    names = {f"{host}:{_port(url)}" for host in hosts}
    if _port(url) == _PORTS[url.scheme]:
        names |= {*hosts, url.host}
    if allowed.startswith("*."):
        return any(name.endswith(allowed[1:]) for name in names)
    return allowed in names


def is_public(address: str) -> bool:
    """Check whether an address is globally reachable; an IPv4 address embedded in an IPv6 one decides for it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.is_site_local:
            return False
        nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or nat64 or ip
    return ip.is_global and not ip.is_multicast and not ip.is_reserved

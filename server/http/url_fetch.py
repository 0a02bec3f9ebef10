"""Image URLs in requests: fetched over HTTP from allowed hosts only. Off by default.

No redirect is followed, no proxy is used and no cookie is kept. A host's addresses are resolved once, must all be
public, and are the ones connected to, so a name cannot be re-pointed at an internal machine after the check. A host
that is allowed as an address may be private.
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
"""Of single reads and writes: one timeout holds for the whole fetch."""


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """Placeholder for an image in a request until it is fetched."""

    url: str


class UrlFetcher:
    """Image fetcher of one service. Belongs to its event loop.

    Args:
        hosts: allowed ones, as `images.example.org`, `*.example.org` (any below it), `10.0.0.5`, `[::1]` or
            `host:8080`; without a port those of http and https. None: nothing is fetched.
        max_bytes: of all images of one request.
        timeout: seconds for all of one image, from resolving the name to its last byte.
    """

    def __init__(self, hosts: Sequence[str], *, max_bytes: int, timeout: float) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._slots = asyncio.Semaphore(_CONCURRENT_FETCHES)
        self._resolvers = ThreadPoolExecutor(_CONCURRENT_FETCHES, "resolve")  # a slow name server holds no other work

    async def replace(
        self, images: Sequence[bytes | ImageUrl | ServiceError], hold: Callable[[int], None]
    ) -> list[bytes | ServiceError]:
        """Replace each URL by its bytes, or by the error that kept it from being fetched; concurrently.

        Args:
            hold: counts the bytes of an image that was fetched, as those of a body are.

        Raises:
            Overloaded: by `hold`.
        """
        allowance = _Allowance(self._max_bytes)

        async def one(image: bytes | ImageUrl | ServiceError) -> bytes | ServiceError:
            if not isinstance(image, ImageUrl):
                return image
            fetched = await self._fetch(image.url, allowance)
            if isinstance(fetched, bytes):
                hold(len(fetched))
            return fetched

        tasks = [asyncio.ensure_future(one(image)) for image in images]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:  # after an error none may hold bytes that nobody gives back
                task.cancel()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _fetch(self, url: str, allowance: "_Allowance") -> bytes | ServiceError:
        try:
            checked = self._check(url)
            async with asyncio.timeout(self._timeout), self._slots:
                return await self._get(checked, allowance)
        except ServiceError as error:
            return error
        except TimeoutError:
            return BadRequest(f"the image URL was not fetched within {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return BadRequest(f"the image URL could not be fetched: {str(error) or type(error).__name__}")

    def _check(self, url: str) -> httpx.URL:
        """The parsed URL, if it may be fetched. It is not parsed again: two parsers may see two hosts in one URL."""
        if not self._hosts:
            raise BadRequest("image URLs are not fetched; send the image itself as base64 or a data URI")
        parsed = httpx.URL(url)
        if parsed.scheme not in _PORTS or not parsed.host or parsed.userinfo:
            raise BadRequest("an image URL must have the form https://host/path, without a user's name")
        if _port(parsed) > 65535:
            raise ValueError(f"there is no port {parsed.port}")
        if not any(_matches(allowed, parsed) for allowed in self._hosts):
            host = parsed.netloc.decode("ascii")
            raise BadRequest(f"images are not fetched from {host}; allowed are: {', '.join(self._hosts)}")
        return parsed

    async def _get(self, url: httpx.URL, allowance: "_Allowance") -> bytes:
        """The body there. Each fetch has a client of its own: no cookie or connection is shared between two hosts."""
        transport = _CheckedTransport(self._resolve, self._tls)
        async with (
            httpx.AsyncClient(transport=transport, trust_env=False, timeout=_NO_TIMEOUT) as client,
            client.stream("GET", url, headers=_HEADERS, follow_redirects=False) as response,
        ):
            return await _read(response, allowance)

    async def _resolve(self, host: str, port: int) -> list[str]:
        """Addresses of a host, if it is given as one or all of them are public.

        Raises:
            BadRequest: one is private, of this machine, or otherwise special.
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
                raise BadRequest(
                    f"{host} has the address {address}, which is not public: images are not fetched from it"
                )
        return addresses


class _CheckedTransport(httpx.AsyncBaseTransport):
    """HTTP transport that connects to addresses which `resolve` returns; a certificate must be the host name's."""

    def __init__(self, resolve: Callable[[str, int], Awaitable[list[str]]], tls: ssl.SSLContext) -> None:
        self._resolve = resolve
        self._transport = httpx.AsyncHTTPTransport(verify=tls, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        host = url.raw_host.decode("ascii")
        request.extensions = {**request.extensions, "sni_hostname": host}
        failure: httpx.ConnectError | None = None
        for address in await self._resolve(host, _port(url)):
            request.url = url.copy_with(host=address)  # the header Host keeps the name
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError as error:
                failure = error
        raise failure or httpx.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        await self._transport.aclose()


@dataclass(slots=True)
class _Allowance:
    """Bytes that a request's images may still have."""

    remaining: int


async def _read(response: httpx.Response, allowance: _Allowance) -> bytes:
    if response.status_code != 200:
        also = "; redirects are not followed" if response.is_redirect else ""
        raise BadRequest(f"the image URL was answered {response.status_code} {response.reason_phrase}{also}")
    if (encoding := response.headers.get("content-encoding", "identity")) != "identity":  # may grow a thousandfold
        raise BadRequest(f"the image at the URL is compressed as {encoding}; it must be sent as it is")
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            allowance.remaining -= len(chunk)
            if allowance.remaining < 0:
                raise RequestTooLarge("the images at the URLs are larger than a request may be")
            body += chunk
    except (httpx.ReadError, httpx.RemoteProtocolError) as error:
        raise BadRequest("the image at the URL was cut off") from error
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
    """Whether an IPv4 or IPv6 address is of the open internet; of an IPv4 address inside an IPv6 one, that one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.is_site_local:
            return False
        nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or nat64 or ip
    return ip.is_global and not ip.is_multicast and not ip.is_reserved

"""Images that a request names by URL: fetched from hosts that were allowed, and from nowhere else. Off by default.

No redirect is followed; a host's addresses are resolved once, must be public, and are those connected to, so that a
name cannot be pointed at a machine inside after it was checked. A host that is allowed as an address may be private.
"""

import asyncio
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from .errors import BadRequest, RequestTooLarge, ServiceError

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CHUNK_BYTES = 64 * 1024
_THREADS = 16


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """Stands for an image in a request until it is fetched."""

    url: str


class UrlFetcher:
    """Fetches images of one service.

    Args:
        hosts: allowed ones, as `images.example.org`, `*.example.org` (any below it), `10.0.0.5` or `host:8080`;
            without a port those of http and https. None: nothing is fetched.
        max_bytes: of all images of one request.
        timeout: seconds for all of one image, from resolving the name to its last byte.
    """

    def __init__(self, hosts: Sequence[str], *, max_bytes: int, timeout: float) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, "fetch")

    async def _fetch(self, url: str, allowance: "_Allowance") -> bytes | ServiceError:
        try:
            parts = self._check(url)
            fetching = asyncio.get_running_loop().run_in_executor(self._threads, self._get, parts, allowance)
            return await asyncio.wait_for(fetching, self._timeout)
        except ServiceError as error:
            return error
        except TimeoutError:
            return BadRequest(f"the image URL was not fetched within {self._timeout:g} s")
        except (OSError, ValueError, http.client.HTTPException) as error:
            return BadRequest(f"the image URL could not be fetched: {error or type(error).__name__}")

    async def replace(
        self, images: Sequence[bytes | ImageUrl | ServiceError], hold: Callable[[int], None]
    ) -> list[bytes | ServiceError]:
        """Each URL replaced by the bytes there, or why they are not had, all at once; what is there already stays.

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

        return list(await asyncio.gather(*map(one, images)))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, url: str) -> SplitResult:
        """The URL's parts, if it is one that may be fetched."""
        if not self._hosts:
            raise BadRequest("image URLs are not fetched; send the image itself as base64 or a data URI")
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.password:
            raise BadRequest("an image URL must have the form https://host/path, without a user's name")
        host, port = parts.hostname.lower(), parts.port
        named = [host] if port in (None, _PORTS[parts.scheme]) else []
        if not any(_matches(allowed, named, f"{host}:{port or _PORTS[parts.scheme]}") for allowed in self._hosts):
            raise BadRequest(f"images are not fetched from {parts.netloc}; allowed are: {', '.join(self._hosts)}")
        return parts

    def _get(self, parts: SplitResult, allowance: "_Allowance") -> bytes:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        connection = _connect(parts.scheme, host, port, self._timeout)
        end = time.monotonic() + self._timeout
        timer = threading.Timer(self._timeout, _abort, [connection.sock])  # a host that sends a byte a second ends too
        timer.start()
        try:
            path = parts.path or "/"
            connection.request("GET", f"{path}?{parts.query}" if parts.query else path, headers={"accept": "image/*"})
            with connection.getresponse() as response:
                return _read(response, end, allowance)
        finally:
            timer.cancel()
            connection.close()


@dataclass(slots=True)
class _Allowance:
    """Bytes that a request's images may still have."""

    left: int


def _read(response: http.client.HTTPResponse, end: float, allowance: _Allowance) -> bytes:
    if response.status != 200:
        also = "; redirects are not followed" if 300 <= response.status < 400 else ""
        raise BadRequest(f"the image URL was answered {response.status} {response.reason}{also}")
    body = bytearray()
    while chunk := response.read(_CHUNK_BYTES):
        body += chunk
        allowance.left -= len(chunk)
        if allowance.left < 0:
            raise RequestTooLarge("the images at the URLs are larger than a request may be")
    if time.monotonic() >= end:  # what looks like the end of the body may be the timer's
        raise TimeoutError
    if response.length:
        raise BadRequest("the image at the URL was cut off")
    return bytes(body)


def _matches(allowed: str, named: Sequence[str], with_port: str) -> bool:
    names = [with_port, *named]
    if allowed.startswith("*."):
        return any(name.endswith(allowed[1:]) for name in names)
    return allowed in names or allowed in (f"[{name}]" for name in named)


def _connect(scheme: str, host: str, port: int, timeout: float) -> http.client.HTTPConnection:
    """A connection to an address of `host` that may be connected to."""
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        if scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout)
    )
    address = _address(host, port)
    connection._create_connection = lambda _, *rest: socket.create_connection((address, port), *rest)  # type: ignore[attr-defined]
    connection.connect()
    return connection


def _address(host: str, port: int) -> str:
    """The first of the host's addresses, if it is given as one or all of them are public.

    Raises:
        BadRequest: one is private, of this machine, or otherwise special.
    """
    with suppress(ValueError):
        return str(ipaddress.ip_address(host))
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not is_public(address):
            raise BadRequest(f"{host} has the address {address}, which is not public: images are not fetched from it")
    return found[0]


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is one of the open internet, also where one is wrapped in the other."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None and not inner.is_global:
            return False
    return ip.is_global and not ip.is_multicast


def _abort(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)

"""Connections for image URLs: the addresses they go to, TLS, and servers that are slow, endless or broken."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tessella.server.errors import Overloaded, ServiceError
from tessella.server.http import url_fetch
from tessella.server.http.url_fetch import ImageUrl, UrlFetcher

from ...support.image_site import OK, Site, image_site, response

NAME = "images.example"
WHOLE = response(b"image")
LIMIT = 4096


def fetch(
    *urls: str, hosts: tuple[str, ...], timeout: float = 10, reserve: Callable[[int], None] = lambda _: None
) -> list[bytes | ServiceError]:
    async def run() -> list[bytes | ServiceError]:
        fetcher = UrlFetcher(hosts, max_bytes=LIMIT, timeout=timeout)
        try:
            return await fetcher.fetch_all([ImageUrl(url) for url in urls], reserve)
        finally:
            fetcher.close()

    return asyncio.run(run())


def fetch_from(site: Site, timeout: float = 10) -> bytes | str:
    """The image, or its error as text."""
    (result,) = fetch(f"http://{site.host}/x", hosts=(site.host,), timeout=timeout)
    return result if isinstance(result, bytes) else f"{result.error_type}: {result}"


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Patch name resolution: successive calls return the given addresses. Returns the list of names looked up."""
    monkeypatch.setattr(url_fetch, "is_public", lambda address: address in ("127.0.0.2", "::1"))

    def resolve_to(*addresses_by_call: tuple[str, ...]) -> list[str]:
        looked_up: list[str] = []

        def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
            addresses = addresses_by_call[min(len(looked_up), len(addresses_by_call) - 1)]
            looked_up.append(host)
            return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return looked_up

    return resolve_to


def test_a_name_is_resolved_once(resolve: Callable[..., list[str]]) -> None:
    looked_up = resolve(("127.0.0.2",), ("127.0.0.1",))
    with (
        image_site(WHOLE, address="127.0.0.2") as public,
        image_site(response(b"secret"), port=public.port) as inside,
    ):
        (result,) = fetch(f"http://{NAME}:{public.port}/x", hosts=(f"{NAME}:{public.port}",))
        assert result == b"image"
        assert looked_up == [NAME]
        assert inside.requests == []
        assert f"\r\nHost: {NAME}:{public.port}\r\n".encode() in public.requests[0]


@pytest.mark.parametrize(
    "addresses", [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "fe80::1")]
)
def test_a_private_address_among_public_ones_is_refused(
    addresses: tuple[str, ...], resolve: Callable[..., list[str]]
) -> None:
    resolve(addresses)
    with image_site(WHOLE, address="127.0.0.2") as public:
        (result,) = fetch(f"http://{NAME}:{public.port}/x", hosts=(f"*.example:{public.port}",))
        assert "which is not a public address" in str(result)
        assert public.requests == []


def test_the_next_address_is_tried_if_one_does_not_respond(
    resolve: Callable[..., list[str]],
) -> None:
    resolve(("::1", "127.0.0.2"))
    with image_site(WHOLE, address="127.0.0.2") as public:
        assert fetch(f"http://{NAME}:{public.port}/x", hosts=(f"{NAME}:{public.port}",)) == [b"image"]


def test_ipv6(resolve: Callable[..., list[str]]) -> None:
    resolve(("::1",))
    try:
        with image_site(WHOLE, address="::1") as public:
            by_name, by_address = f"{NAME}:{public.port}", f"[::1]:{public.port}"
            urls = [f"http://{by_name}/x", f"http://{by_address}/x"]
            assert fetch(*urls, hosts=(by_name, by_address)) == [b"image", b"image"]
            (other,) = fetch(f"http://{by_address}/x", hosts=("[::1]", "::1", f"::1:{public.port}"))
            assert "image host [::1]" in str(other)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("[::1]", "http://[::1]/"),
        ("::1", "https://[::1]:443/"),
        ("example.org", "HTTP://EXAMPLE.ORG:80/"),
        ("bücher.example", "http://xn--bcher-kva.example/"),
        ("xn--bcher-kva.example", "http://bücher.example/"),
        ("*.example.org:81", "http://a.b.example.org:81/"),
    ],
)
def test_spellings_of_a_host(allowed: str, url: str) -> None:
    assert url_fetch._matches(allowed, httpx.URL(url))


@pytest.mark.parametrize(
    "url", [f"http://{NAME}\\@127.0.0.1/x", f"http://{NAME}%00.evil.example/x", f"http://{NAME}@127.0.0.1/x", "http:x"]
)
def test_a_url_with_an_ambiguous_host_is_refused(url: str) -> None:
    (result,) = fetch(url, hosts=(NAME,))
    assert isinstance(result, ServiceError)
    assert result.error_type == "bad_request"


def test_a_redirect_to_an_internal_address_is_not_followed() -> None:
    with image_site(WHOLE) as inside:
        location = f"location: http://{inside.host}/x\r\n".encode()
        moved = response(b"", b"307 Temporary Redirect", location)
        with image_site(moved) as outside:
            assert "redirects are not followed" in str(fetch_from(outside))
            assert inside.requests == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with image_site(OK + b"\r\nproxied") as proxy, image_site(WHOLE) as direct:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert fetch_from(direct) == b"image"
        assert proxy.requests == []


def test_reading_stops_at_the_limit() -> None:
    chunk = b"400\r\n" + 1024 * b"x" + b"\r\n"
    with image_site(OK + b"transfer-encoding: chunked\r\n\r\n", *1000 * [chunk], pause=0.001) as endless:
        assert fetch_from(endless) == "too_large: the images at the URLs exceed 4,096 bytes"
        assert endless.aborted.wait(10)


def test_the_limit_covers_all_images_of_a_request() -> None:
    with image_site(response(3000 * b"x")) as large:
        results = fetch(f"http://{large.host}/a", f"http://{large.host}/b", hosts=(large.host,))
        assert sorted(isinstance(result, bytes) for result in results) == [False, True]


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, deflate"])
def test_a_compressed_body_is_refused_before_it_grows(encoding: bytes) -> None:
    with image_site(OK + b"content-encoding: " + encoding + b"\r\ncontent-length: 5\r\n\r\nxxxxx") as compressed:
        assert fetch_from(compressed) == (
            f"bad_request: the image at the URL is sent with content encoding {encoding.decode()}; "
            "it must be sent without one"
        )
        assert b"\r\naccept-encoding: identity\r\n" in compressed.requests[0]


def test_a_slow_body_times_out_and_closes_the_connection() -> None:
    with image_site(OK + b"content-length: 1000\r\n\r\n", *1000 * [b"x"], pause=0.05) as slow:
        assert "took longer than 0.4 s" in str(fetch_from(slow, timeout=0.4))
        assert slow.aborted.wait(10)


def test_a_silent_server_times_out() -> None:
    with image_site(OK + b"content-length: 5\r\n\r\n", pause=5) as silent:
        assert "took longer than 0.3 s" in str(fetch_from(silent, timeout=0.3))


def test_a_slow_name_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30) and [])
    threading.Timer(1.5, released.set).start()
    (result,) = fetch(f"http://{NAME}/x", hosts=(NAME,), timeout=0.3)
    assert "took longer than 0.3 s" in str(result)


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"", "could not be fetched: Server disconnected"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "could not be fetched"),
        (b"not HTTP at all\r\n\r\n", "could not be fetched"),
        (OK + b"content-length: 9\r\n\r\nimage", "closed before the end of the image"),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nimage\r\n", "closed before the end of the image"),
    ],
)
def test_a_truncated_response_is_an_error(sent: bytes, complaint: str) -> None:
    with image_site(sent) as broken:
        assert complaint in str(fetch_from(broken))


def test_no_bytes_are_reserved_after_an_error() -> None:
    reserved: list[int] = []

    def reserve(count: int) -> None:
        reserved.append(count)
        raise Overloaded("full")

    with image_site(WHOLE) as prompt, image_site(WHOLE[:-5], b"image", pause=0.3) as late:
        hosts = prompt.host, late.host

        async def run() -> None:
            fetcher = UrlFetcher(hosts, max_bytes=LIMIT, timeout=10)
            with pytest.raises(Overloaded):
                await fetcher.fetch_all([ImageUrl(f"http://{host}/x") for host in hosts], reserve)
            await asyncio.sleep(0.6)
            fetcher.close()

        asyncio.run(run())
        assert reserved == [5]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of NAME with its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    file, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}"]
    names = ["-addext", f"subjectAltName=DNS:{NAME}", "-out", str(file), "-keyout", str(key)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


@pytest.mark.parametrize(("name", "trusted"), [(NAME, True), ("other.example", True), (NAME, False)])
def test_certificates_are_verified_for_the_host_name(
    name: str, trusted: bool, certificate: Path, resolve: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(("127.0.0.2",))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    listener = context.wrap_socket(socket.create_server(("127.0.0.2", 0)), server_side=True)
    with listener:
        public = Site(listener, (WHOLE,))
        (result,) = fetch(f"https://{name}:{public.port}/x", hosts=(f"{name}:{public.port}",))
        if name == NAME and trusted:
            assert result == b"image"
        else:
            assert "CERTIFICATE_VERIFY_FAILED" in str(result)
            assert public.requests == []

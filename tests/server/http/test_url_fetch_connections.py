"""Connections for image URLs: addresses that are connected to, TLS, and servers that break off or trickle."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tessella.server.errors import Overloaded, ServiceError
from tessella.server.http import url_fetch
from tessella.server.http.url_fetch import ImageUrl, UrlFetcher

NAME = "images.example"
OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"content-length: 5\r\n\r\nimage"
LIMIT = 4096


class Site:
    """A server that sends the same pieces, with a pause after each, to everybody. `heads`: what it was sent."""

    def __init__(self, listener: socket.socket, pieces: tuple[bytes, ...], pause: float = 0) -> None:
        self.port: int = listener.getsockname()[1]
        self.heads: list[bytes] = []
        self.closed = threading.Event()
        """By the client, before everything was sent."""
        self._listener, self._pieces, self._pause = listener, pieces, pause
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except ssl.SSLError:
                continue
            except OSError:
                return
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.heads.append(connection.recv(1 << 16))
                for piece in self._pieces:
                    connection.sendall(piece)
                    time.sleep(self._pause)
            except OSError:
                self.closed.set()


@contextmanager
def site(*pieces: bytes, address: str = "127.0.0.1", port: int = 0, pause: float = 0) -> Iterator[Site]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family)
    try:
        yield Site(listener, pieces, pause)
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def fetch(
    *wanted: str, hosts: tuple[str, ...], timeout: float = 10, hold: Callable[[int], None] = lambda _: None
) -> list[bytes | ServiceError]:
    async def run() -> list[bytes | ServiceError]:
        fetcher = UrlFetcher(hosts, max_bytes=LIMIT, timeout=timeout)
        try:
            return await fetcher.fetch_all([ImageUrl(url) for url in wanted], hold)
        finally:
            fetcher.close()

    return asyncio.run(run())


def fetch_from(site: Site, timeout: float = 10) -> bytes | str:
    """The image, or why there is none."""
    host = f"127.0.0.1:{site.port}"
    (result,) = fetch(f"http://{host}/x", hosts=(host,), timeout=timeout)
    return result if isinstance(result, bytes) else f"{result.error_type}: {result}"


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes names resolve to given addresses, one answer after another. Returns the list of names looked up."""
    monkeypatch.setattr(url_fetch, "is_public", lambda address: address in ("127.0.0.2", "::1"))

    def answer_with(*answers: tuple[str, ...]) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
            addresses = answers[min(len(asked), len(answers) - 1)]
            asked.append(host)
            return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return answer_with


def test_a_name_that_changes_after_the_check_is_not_followed(resolve: Callable[..., list[str]]) -> None:
    asked = resolve(("127.0.0.2",), ("127.0.0.1",))
    with (
        site(WHOLE, address="127.0.0.2") as public,
        site(OK + b"content-length: 6\r\n\r\nsecret", port=public.port) as inside,
    ):
        (result,) = fetch(f"http://{NAME}:{public.port}/x", hosts=(f"{NAME}:{public.port}",))
        assert result == b"image"
        assert asked == [NAME]
        assert inside.heads == []
        assert f"\r\nHost: {NAME}:{public.port}\r\n".encode() in public.heads[0]


@pytest.mark.parametrize(
    "addresses", [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "fe80::1")]
)
def test_one_private_address_among_public_ones_refuses_the_host(
    addresses: tuple[str, ...], resolve: Callable[..., list[str]]
) -> None:
    resolve(addresses)
    with site(WHOLE, address="127.0.0.2") as public:
        (result,) = fetch(f"http://{NAME}:{public.port}/x", hosts=(f"*.example:{public.port}",))
        assert "which is not a public address" in str(result)
        assert public.heads == []


def test_a_host_that_does_not_answer_at_its_first_address_is_tried_at_the_next(
    resolve: Callable[..., list[str]],
) -> None:
    resolve(("::1", "127.0.0.2"))
    with site(WHOLE, address="127.0.0.2") as public:
        assert fetch(f"http://{NAME}:{public.port}/x", hosts=(f"{NAME}:{public.port}",)) == [b"image"]


def test_ipv6(resolve: Callable[..., list[str]]) -> None:
    resolve(("::1",))
    try:
        with site(WHOLE, address="::1") as public:
            by_name, by_address = f"{NAME}:{public.port}", f"[::1]:{public.port}"
            wanted = [f"http://{by_name}/x", f"http://{by_address}/x"]
            assert fetch(*wanted, hosts=(by_name, by_address)) == [b"image", b"image"]
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
def test_a_url_that_two_parsers_read_differently_is_refused(url: str) -> None:
    (result,) = fetch(url, hosts=(NAME,))
    assert isinstance(result, ServiceError)
    assert result.error_type == "bad_request"


def test_a_redirect_to_an_internal_address_is_not_followed() -> None:
    with site(WHOLE) as inside:
        moved = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:%d/x\r\n\r\n" % inside.port
        with site(moved) as outside:
            assert "redirects are not followed" in str(fetch_from(outside))
            assert inside.heads == []


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with site(OK + b"\r\nproxied") as proxy, site(WHOLE) as direct:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert fetch_from(direct) == b"image"
        assert proxy.heads == []


def test_a_chunked_body_over_the_limit_is_not_read_to_its_end() -> None:
    chunk = b"400\r\n" + 1024 * b"x" + b"\r\n"
    with site(OK + b"transfer-encoding: chunked\r\n\r\n", *1000 * [chunk], pause=0.001) as endless:
        assert fetch_from(endless) == "too_large: the images at the URLs exceed 4,096 bytes"
        assert endless.closed.wait(10)


def test_the_limit_is_that_of_all_images_of_a_request() -> None:
    half = OK + b"content-length: 3000\r\n\r\n" + 3000 * b"x"
    with site(half) as large:
        host = f"127.0.0.1:{large.port}"
        results = fetch(f"http://{host}/a", f"http://{host}/b", hosts=(host,))
        assert sorted(isinstance(result, bytes) for result in results) == [False, True]


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, deflate"])
def test_a_compressed_body_is_refused_before_it_grows(encoding: bytes) -> None:
    with site(OK + b"content-encoding: " + encoding + b"\r\ncontent-length: 5\r\n\r\nxxxxx") as compressed:
        assert fetch_from(compressed) == (
            f"bad_request: the image at the URL is sent with content encoding {encoding.decode()}; "
            "it must be sent without one"
        )
        assert b"\r\naccept-encoding: identity\r\n" in compressed.heads[0]


def test_a_slow_body_ends_with_its_time_and_the_connection() -> None:
    with site(OK + b"content-length: 1000\r\n\r\n", *1000 * [b"x"], pause=0.05) as slow:
        assert "took longer than 0.4 s" in str(fetch_from(slow, timeout=0.4))
        assert slow.closed.wait(10)


def test_a_slow_name_server_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_server_that_closes_in_the_middle(sent: bytes, complaint: str) -> None:
    with site(sent) as broken:
        assert complaint in str(fetch_from(broken))


def test_no_bytes_are_held_after_a_request_was_refused() -> None:
    held: list[int] = []

    def hold(count: int) -> None:
        held.append(count)
        raise Overloaded("full")

    with site(WHOLE) as prompt, site(WHOLE[:-5], b"image", pause=0.3) as late:
        hosts = f"127.0.0.1:{prompt.port}", f"127.0.0.1:{late.port}"

        async def run() -> None:
            fetcher = UrlFetcher(hosts, max_bytes=LIMIT, timeout=10)
            with pytest.raises(Overloaded):
                await fetcher.fetch_all([ImageUrl(f"http://{host}/x") for host in hosts], hold)
            await asyncio.sleep(0.6)
            fetcher.close()

        asyncio.run(run())
        assert held == [5]


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
def test_a_certificate_must_be_trusted_and_of_the_name(
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
            assert public.heads == []

"""Which image URLs are fetched, from a server on a real socket that misbehaves as asked."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tessella.server.errors import ServiceError
from tessella.server.http.url_fetch import ImageUrl, UrlFetcher, is_public
from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import gated

PNG = pictures.encode(pictures.gradient())


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/moved": 302, "/missing": 404}.get(self.path, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/image.png")
        if self.path == "/cut":
            self.send_header("content-length", str(2 * len(PNG)))
        self.end_headers()
        if self.path == "/slow":
            gone.wait(10)
        elif self.path == "/endless":
            while not gone.wait(0.02) and self.sends(b"x"):
                pass
        elif status == 200:
            self.sends(PNG if self.path.startswith(("/image.png", "/cut")) else b"x" * 5000)

    def sends(self, content: bytes) -> bool:
        try:
            self.wfile.write(content)
        except OSError:
            return False
        return True

    def log_message(self, *_: object) -> None: ...


gone = threading.Event()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    gone.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    gone.set()
    server.shutdown()
    server.server_close()


def test_classify_fetches_what_was_allowed(site: str) -> None:
    with gated(GatedRunner(), Settings(model=("gated",), image_url_host=(site,))) as live:
        inputs = [f"http://{site}/image.png", f"http://{site}/missing", "http://other.example/x", base64_of(PNG)]
        results = httpx.post(f"{live.url}/classify", json={"inputs": inputs}).json()["results"]
        assert results[0] == results[3]
        assert results[0]["predictions"]
        assert "returned 404" in results[1]["error"]
        assert "image host other.example is not allowed" in results[2]["error"]


def test_what_is_fetched_counts_as_a_body_does(site: str) -> None:
    most = len(PNG) + 5000 + 10  # no room for the request's own body
    settings = Settings(model=("gated",), image_url_host=(site,), max_body_bytes=most, max_queue_bytes=most)
    with gated(GatedRunner(), settings) as live:
        one, two = {"inputs": f"http://{site}/image.png"}, {"inputs": [f"http://{site}/image.png", f"http://{site}/x"]}
        full = httpx.post(f"{live.url}/classify", json=two)
        assert (full.status_code, "would exceed the limit" in full.text) == (429, True)
        assert httpx.post(f"{live.url}/classify", json=one).status_code == 200


def test_by_default_nothing_is_fetched(site: str) -> None:
    assert refused(f"http://{site}/image.png").startswith("bad_request: fetching image URLs is disabled")


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def fetched(url: str, *hosts: str, timeout: float = 30) -> bytes | ServiceError:
    async def run() -> bytes | ServiceError:
        fetcher = UrlFetcher(hosts, max_bytes=4096, timeout=timeout)
        try:
            (answer,) = await fetcher.fetch_all([ImageUrl(url)], lambda count: None)
            return answer
        finally:
            fetcher.close()

    return asyncio.run(run())


def refused(url: str, *hosts: str, timeout: float = 30) -> str:
    answer = fetched(url, *hosts, timeout=timeout)
    assert isinstance(answer, ServiceError)
    return f"{answer.error_type}: {answer}"


def test_an_allowed_host_is_fetched_from(site: str) -> None:
    assert fetched(f"http://{site}/image.png", "other.example", site) == PNG
    assert fetched(f"http://{site}/image.png?size=1#part", site) == PNG


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/moved", "bad_request: the server of the image URL returned 302 Found, not 200; redirects are not followed"),
        ("/missing", "bad_request: the server of the image URL returned 404 Not Found, not 200"),
        ("/large", "too_large: the images at the URLs exceed 4,096 bytes"),
        ("/cut", "bad_request: the connection to the server of the image URL closed before the end of the image"),
    ],
)
def test_what_is_no_image_says_why(site: str, path: str, message: str) -> None:
    assert refused(f"http://{site}{path}", site) == message


@pytest.mark.parametrize("path", ["/slow", "/endless"])
def test_an_image_has_its_time(site: str, path: str) -> None:
    assert "took longer than 0.5 s" in refused(f"http://{site}{path}", site, timeout=0.5)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://127.0.0.1:1/x",
        "http://images.example/x",
        "http://example.org.evil.example/x",
        "http://example.org:8080/x",
        "http://notexample.org/x",
        "http://[::1]/x",
    ],
)
def test_a_host_that_was_not_allowed_is_refused(url: str) -> None:
    message = refused(url, "example.org", "*.example.org")
    assert "is not allowed; allowed hosts: example.org, *.example.org" in message


@pytest.mark.parametrize("url", ["ftp://example.org/x", "https:///x", "http://user:word@example.org/x", "file:///etc"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    assert "must have the form https://host/path" in refused(url, "example.org")


def test_a_name_of_this_machine_is_refused_although_it_was_allowed(site: str) -> None:
    port = site.partition(":")[2]
    assert "which is not a public address" in refused(f"http://localhost:{port}/image.png", f"localhost:{port}")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://example.org:99999/x", "http://[::1/x", "http://a..b/"])
def test_what_cannot_be_reached_is_an_error(url: str) -> None:
    assert "could not be fetched" in refused(url, "127.0.0.1:1", "a..b")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.1.2.3", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::5db8:d70e", True),
        ("2002:5db8:d70e::1", True),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:224.0.0.1", False),
        ("::10.0.0.1", False),
        ("::", False),
        ("64:ff9b:1::a00:1", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public

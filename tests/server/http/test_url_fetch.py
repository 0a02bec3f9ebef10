"""Image URLs: the hosts and addresses that are allowed, and fetched images in requests."""

import asyncio
import base64

import httpx
import pytest

from tessella.server.errors import ServiceError
from tessella.server.http.url_fetch import ImageUrl, UrlFetcher, is_public
from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.image_site import image_site, response
from ...support.live import gated

PNG = pictures.encode(pictures.gradient())
TEXT = base64.b64encode(PNG).decode()


def fetch(url: str, *hosts: str) -> bytes | ServiceError:
    async def run() -> bytes | ServiceError:
        fetcher = UrlFetcher(hosts, max_bytes=4096, timeout=30)
        try:
            (result,) = await fetcher.fetch_all([ImageUrl(url)], lambda count: None)
            return result
        finally:
            fetcher.close()

    return asyncio.run(run())


def refused(url: str, *hosts: str) -> str:
    error = fetch(url, *hosts)
    assert isinstance(error, ServiceError)
    return f"{error.error_type}: {error}"


def test_classify_fetches_from_allowed_hosts() -> None:
    with image_site(response(PNG)) as images, image_site(response(b"", b"404 Not Found")) as missing:
        settings = Settings(model=("gated",), image_url_host=(images.host, missing.host))
        with gated(GatedRunner(), settings) as live:
            inputs = [f"http://{images.host}/a.png", f"http://{missing.host}/", "http://other.example/x", TEXT]
            results = httpx.post(f"{live.url}/classify", json={"inputs": inputs}).json()["results"]
    assert results[0] == results[3]
    assert results[0]["predictions"]
    assert "returned 404" in results[1]["error"]
    assert "image host other.example is not allowed" in results[2]["error"]


def test_fetched_bytes_count_against_the_body_budget() -> None:
    limit = len(PNG) + 5000 + 10  # without room for the request's own body
    with image_site(response(PNG)) as images, image_site(response(5000 * b"x")) as large:
        hosts = (images.host, large.host)
        settings = Settings(model=("gated",), image_url_host=hosts, max_body_bytes=limit, max_queue_bytes=limit)
        with gated(GatedRunner(), settings) as live:
            urls = [f"http://{host}/a.png" for host in hosts]
            full = httpx.post(f"{live.url}/classify", json={"inputs": urls})
            assert (full.status_code, "would exceed the limit" in full.text) == (429, True)
            assert httpx.post(f"{live.url}/classify", json={"inputs": urls[:1]}).status_code == 200


def test_fetching_is_disabled_by_default() -> None:
    assert refused("http://example.org/image.png").startswith("bad_request: fetching image URLs is disabled")


def test_an_allowed_host_may_be_an_address_with_a_port() -> None:
    with image_site(response(PNG)) as images:
        assert fetch(f"http://{images.host}/image.png?size=1#part", "other.example", images.host) == PNG
        assert images.requests[0].startswith(b"GET /image.png?size=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            response(b"", b"302 Found", b"location: /image.png\r\n"),
            "bad_request: the server of the image URL returned 302 Found, not 200; redirects are not followed",
        ),
        (
            response(b"", b"404 Not Found"),
            "bad_request: the server of the image URL returned 404 Not Found, not 200",
        ),
        (response(5000 * b"x"), "too_large: the images at the URLs exceed 4,096 bytes"),
        (
            response(PNG)[:-1],
            "bad_request: the connection to the server of the image URL closed before the end of the image",
        ),
    ],
)
def test_other_responses_are_errors_that_name_the_cause(answer: bytes, message: str) -> None:
    with image_site(answer) as images:
        assert refused(f"http://{images.host}/a.png", images.host) == message


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
def test_other_hosts_are_refused(url: str) -> None:
    message = refused(url, "example.org", "*.example.org")
    assert "is not allowed; allowed hosts: example.org, *.example.org" in message


@pytest.mark.parametrize("url", ["ftp://example.org/x", "https:///x", "http://user:word@example.org/x", "file:///etc"])
def test_other_kinds_of_urls_are_refused(url: str) -> None:
    assert "must have the form https://host/path" in refused(url, "example.org")


def test_a_private_host_name_is_refused_even_if_allowed() -> None:
    assert "which is not a public address" in refused("http://localhost:9/image.png", "localhost:9")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://example.org:99999/x", "http://[::1/x", "http://a..b/"])
def test_unreachable_hosts_are_errors(url: str) -> None:
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

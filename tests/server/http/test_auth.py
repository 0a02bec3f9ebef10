"""API keys, CORS and TLS over real sockets."""

import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from tessella.server.http.auth import is_loopback, read_api_keys, require_admin
from tessella.server.http.error_responses import install_error_handlers
from tessella.server.http.service import Service
from tessella.server.observability.metrics import Metrics
from tessella.server.repository import ModelRepository
from tessella.server.served_model import local_loader
from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import Process, gated

PNG = pictures.encode(pictures.gradient())
ORIGIN = {"origin": "https://example.org"}


def test_requests_require_a_valid_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# two teams\n\nblue\ngreen\n")
    with gated(GatedRunner(), Settings(model=("gated",), api_key=("red",), api_key_file=file)) as live:

        def status(**headers: str) -> int:
            return httpx.post(f"{live.url}/classify", content=PNG, headers=headers).status_code

        assert [status(**{"x-api-key": key}) for key in ("red", "blue", "green")] == [200, 200, 200]
        assert [status(authorization=f"{scheme} green") for scheme in ("Bearer", "bearer")] == [200, 200]
        wrong = [
            {},
            {"x-api-key": "reds"},
            {"x-api-key": ""},
            {"authorization": "Basic green"},
            {"authorization": "green"},
        ]
        assert [status(**headers) for headers in wrong] == [401] * 5
        refused = httpx.post(f"{live.url}/classify", content=PNG)
        assert refused.json()["error_type"] == "unauthorized"
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.headers["x-request-id"]
        assert httpx.get(f"{live.url}/models").status_code == 401
        assert httpx.get(f"{live.url}/nowhere").status_code == 401
        for path in (
            "/",
            "/ui/index.js",
            "/docs",
            "/openapi.json",
            "/healthz",
            "/readyz",
            "/health",
            "/ping",
            "/metrics",
        ):
            assert httpx.get(live.url + path).status_code == 200, path


def admin_client(keys: tuple[str, ...], host: str, url: str) -> TestClient:
    """Client at `host` of an application with one admin route, `POST /admin`."""
    settings = Settings(model=("gated",), api_key=keys)
    app = FastAPI(dependencies=[Depends(require_admin)])
    app.state.service = Service(settings, ModelRepository(settings, local_loader(settings, Metrics())))
    install_error_handlers(app)
    app.post("/admin")(lambda: "done")
    return TestClient(app, base_url=url, client=(host, 1))


def test_without_keys_every_client_has_access() -> None:
    with gated(GatedRunner(), Settings(model=("gated",))) as live:
        assert httpx.post(f"{live.url}/classify", content=PNG).status_code == 200


@pytest.mark.parametrize(
    ("keys", "client", "url", "origin", "status"),
    [
        ((), "127.0.0.1", "http://127.0.0.1:8000", None, 200),
        ((), "::1", "http://localhost:8000", "http://localhost:8000", 200),
        ((), "192.0.2.1", "http://127.0.0.1:8000", None, 403),
        ((), "127.0.0.1", "http://rebound.example:8000", None, 403),
        ((), "127.0.0.1", "http://localhost:8000", "https://example.org", 403),
        ((), "127.0.0.1", "http://localhost:8000", "null", 403),
        (("red",), "192.0.2.1", "https://service.example", "https://example.org", 200),
    ],
)
def test_admin_routes_require_a_local_client_or_a_key(
    keys: tuple[str, ...], client: str, url: str, origin: str | None, status: int
) -> None:
    headers = {"origin": origin} if origin else {}
    answer = admin_client(keys, client, url).post("/admin", headers=headers)
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["error_type"] == "forbidden"


@pytest.mark.parametrize("keys", [(), ("red",)])
@pytest.mark.parametrize(
    "name", ["Via", "Forwarded", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"]
)
def test_requests_through_a_proxy_are_not_local(keys: tuple[str, ...], name: str) -> None:
    answer = admin_client(keys, "127.0.0.1", "http://127.0.0.1:8000").post("/admin", headers={name: "127.0.0.1"})
    assert answer.status_code == (200 if keys else 403), answer.text
    assert keys or "no request through a proxy" in answer.json()["error"]


@pytest.mark.parametrize(
    ("host", "own"), [("127.8.8.8", True), ("[::1]", True), ("localhost", True), ("10.0.0.1", False), ("", False)]
)
def test_loopback_addresses(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_a_key_file_without_keys_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# nothing yet\n")
    with pytest.raises(ValueError, match="contains no API key"):
        read_api_keys((), file)
    with pytest.raises(OSError, match="missing"):
        read_api_keys((), tmp_path / "missing")


def test_cors_allows_configured_origins_only() -> None:
    with gated(GatedRunner(), Settings(model=("gated",), cors_origin=("https://example.org",))) as live:
        preflight = {**ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
        allowed = httpx.options(f"{live.url}/classify", headers=preflight)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://example.org")
        answer = httpx.post(f"{live.url}/classify", content=PNG, headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert "retry-after" in exposed
        assert {name for name in answer.headers if name.startswith("x-")} == {*exposed} - {"retry-after"}
        other = httpx.post(f"{live.url}/classify", content=PNG, headers={"origin": "https://elsewhere.org"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("frontends", ["0", "1"])
def test_https_with_a_certificate(tmp_path: Path, frontends: str) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    trust = ssl.create_default_context(cafile=str(certificate))
    options = ["--model", "digits-vit", "--frontends", frontends, "--api-key", "red"]
    process = Process(*options, "--tls-certificate", str(certificate), "--tls-key", str(key))
    try:
        url = process.ready(verify=trust).url
        assert url.startswith("https://")
        headers = {"authorization": "Bearer red"}
        answer = httpx.post(f"{url}/classify", content=PNG, headers=headers, verify=trust)
        assert answer.status_code == 200
        assert httpx.post(f"{url}/classify", content=PNG, verify=trust).status_code == 401
    finally:
        process.stop()

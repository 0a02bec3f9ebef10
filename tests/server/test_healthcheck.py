"""Container health check: exit status and message of `python -m tessella.server.healthcheck`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tessella.server.healthcheck import service_url
from tessella.server.settings import Settings

from ..support.gated_runner import GatedRunner
from ..support.live import gated


def probe(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TESSELLA_")}
    return subprocess.run(
        [sys.executable, "-m", "tessella.server.healthcheck", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**clean, **environment},
    )


def test_ready_service_is_healthy_at_any_configured_address(service: str, tmp_path: Path) -> None:
    port = service.rpartition(":")[2]
    for arguments, variables in [((service,), {}), ((), {"TESSELLA_PORT": port, "TESSELLA_HOST": "0.0.0.0"})]:
        result = probe(tmp_path, *arguments, **variables)
        assert (result.returncode, result.stderr) == (0, "")
    (tmp_path / "tessella.toml").write_text(f"port = {port}")
    assert probe(tmp_path, http_proxy="http://127.0.0.1:9").returncode == 0, "proxies are ignored"


def test_draining_or_missing_service_is_unhealthy(tmp_path: Path) -> None:
    with gated(GatedRunner(), Settings(model=("a",))) as running:
        assert probe(tmp_path, running.url).returncode == 0
        app: Any = running.server.config.app
        app.state.service.draining = True
        result = probe(tmp_path, running.url)
        assert (result.returncode, "503" in result.stderr) == (1, True)
    result = probe(tmp_path, running.url)
    assert result.returncode == 1
    assert "/readyz: " in result.stderr
    assert "Traceback" not in result.stderr
    result = probe(tmp_path, "nonsense")
    assert (result.returncode, "unknown url type" in result.stderr) == (1, True)


def test_service_url_matches_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TESSELLA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    defaults = Settings()
    assert service_url() == f"http://{defaults.host}:{defaults.port}"
    monkeypatch.setenv("TESSELLA_HOST", "::")
    monkeypatch.setenv("TESSELLA_TLS_CERTIFICATE", "/c.pem")
    assert service_url() == f"https://[::1]:{defaults.port}"

"""The health check of a container: a process that exits 0 only where the service is ready."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tessella.server.healthcheck import address
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


def test_a_ready_service_is_healthy_wherever_it_was_told_to_listen(service: str, tmp_path: Path) -> None:
    port = service.rpartition(":")[2]
    for arguments, variables in [((service,), {}), ((), {"TESSELLA_PORT": port, "TESSELLA_HOST": "0.0.0.0"})]:
        found = probe(tmp_path, *arguments, **variables)
        assert (found.returncode, found.stderr) == (0, "")
    (tmp_path / "tessella.toml").write_text(f"port = {port}")
    assert probe(tmp_path, http_proxy="http://127.0.0.1:9").returncode == 0, "no proxy is asked"


def test_one_that_is_draining_or_not_there_is_not(tmp_path: Path) -> None:
    with gated(GatedRunner(), Settings(model=("a",))) as running:
        assert probe(tmp_path, running.url).returncode == 0
        app: Any = running.server.config.app
        app.state.service.draining = True
        found = probe(tmp_path, running.url)
        assert (found.returncode, "503" in found.stderr) == (1, True)
    found = probe(tmp_path, running.url)
    assert found.returncode == 1
    assert "/readyz: " in found.stderr
    assert "Traceback" not in found.stderr
    found = probe(tmp_path, "nonsense")
    assert (found.returncode, "unknown url type" in found.stderr) == (1, True)


def test_the_address_is_the_one_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TESSELLA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    defaults = Settings()
    assert address() == f"http://{defaults.host}:{defaults.port}"
    monkeypatch.setenv("TESSELLA_HOST", "::")
    monkeypatch.setenv("TESSELLA_TLS_CERTIFICATE", "/c.pem")
    assert address() == f"https://[::1]:{defaults.port}"

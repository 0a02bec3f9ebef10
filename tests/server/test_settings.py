"""Settings from options, environment and file: precedence, defaults, and errors that name the setting."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from tessella.server.settings import Settings, unknown_variables


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TESSELLA_")]:
        monkeypatch.delenv(name)


def test_options_override_environment_overrides_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tessella.toml").write_text('host = "0.0.0.0"\nport = 1\nmax_queue = 5\nmodel = ["a", "b"]\n')
    monkeypatch.setenv("TESSELLA_PORT", "2")
    monkeypatch.setenv("TESSELLA_MAX_QUEUE", "6")
    settings = Settings(max_queue=7)
    assert (settings.host, settings.port, settings.max_queue, settings.model) == ("0.0.0.0", 2, 7, ("a", "b"))


def test_several_models_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSELLA_MODEL", "digits-vit, mine=/models/a.safetensors")
    assert Settings().model == ("digits-vit", "mine=/models/a.safetensors")


def test_the_shipped_checkpoints_are_the_default() -> None:
    assert Settings().model == ("digits-vit", "digits-tnt")


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("prot = 1", "prot"),
        ("port = 70000", "port"),
        ('dtype = "int8"', "dtype"),
        ("model = []", "model"),
        ("[", "tessella.toml is not valid TOML"),
        ('host = "\xff"', "tessella.toml is not valid TOML"),
    ],
)
def test_invalid_file_is_rejected(tmp_path: Path, file: str, named: str) -> None:
    (tmp_path / "tessella.toml").write_text(file, "latin-1")
    with pytest.raises(ValueError, match=named):
        Settings()


@pytest.mark.parametrize("keys", ["", "blue,", " , blue"])
def test_empty_api_key_is_rejected(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty key would match every request without one."""
    monkeypatch.setenv("TESSELLA_API_KEY", keys)
    with pytest.raises(ValueError, match="an empty API key would admit everyone"):
        Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_misspelt_variables_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSELLA_PROT", "1")
    monkeypatch.setenv("TESSELLA_PORT", "1")
    assert "TESSELLA_PROT" in unknown_variables()
    assert "TESSELLA_PORT" not in unknown_variables()

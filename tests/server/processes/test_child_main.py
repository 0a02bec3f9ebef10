"""Settings of a child process."""

from pathlib import Path

import pytest

from tessella.server.model_names import Version
from tessella.server.processes.child_main import ReceivedSettings
from tessella.server.settings import Settings


def test_environment_and_file_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are merged key by key, so one that is read again would add its models."""
    monkeypatch.chdir(tmp_path)
    supervisor = Settings(models={"cats": (Version(source="cats.onnx"),)})
    monkeypatch.setenv("TESSELLA_MODELS", '{"dogs": "dogs.onnx"}')
    (tmp_path / "tessella.toml").write_text('[models]\nbirds = "birds.onnx"\n')
    assert Settings().models.keys() == {"dogs", "birds"}
    received = ReceivedSettings(**supervisor.model_dump(mode="json"))
    assert received.model_dump() == supervisor.model_dump()

"""Requirements files that images install from: complete, and pinned by constraints.txt."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def required(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Requirements of each extra, as the image build writes them."""
    folder = tmp_path_factory.mktemp("docker") / "requirements"
    command = [sys.executable, str(ROOT / "docker" / "requirements.py"), str(ROOT / "pyproject.toml"), str(folder)]
    subprocess.run(command, check=True, timeout=60)
    return {file.stem: file.read_text().splitlines() for file in folder.iterdir()}


def test_extras_include_the_requirements_of_extras_that_they_name(required: dict[str, list[str]]) -> None:
    optional = PROJECT["optional-dependencies"]
    assert required.keys() == optional.keys() | {"base"}
    assert required["base"] == PROJECT["dependencies"]
    assert required["onnxruntime"] == optional["onnxruntime"]
    assert set(optional["torch"]) < set(required["gpu"]), "gpu names torch"
    assert not any(line.startswith("tessella") for lines in required.values() for line in lines)


@pytest.mark.parametrize("stage", re.findall(r"^ARG EXTRAS=(\S+)", DOCKERFILE.read_text(), re.MULTILINE))
def test_every_package_of_an_image_is_pinned(stage: str, required: dict[str, list[str]]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {re.split(r"==", line)[0].lower().replace("_", "-") for line in lines}
    for requirement in (line for extra in ("base", *stage.split(",")) for line in required[extra]):
        name = re.split(r"[\[<>=; ]", requirement)[0].lower().replace("_", "-")
        assert name in pinned, requirement

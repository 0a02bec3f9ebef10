"""The house rules that a machine can check: the direction of imports, and that a wheel lacks nothing."""

import ast
import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tessella

SOURCE = Path(__file__).parents[1]
FOLDERS = ("kernels", "models", "server", "benchmarks")
MAY_IMPORT = {
    "kernels": {"kernels"},
    "models": {"models", "kernels"},
    "server": {"server", "models"},
    "benchmarks": {"benchmarks", "models", "kernels"},
}
UNPACKAGED = "models/zoo/training"
"""The one folder with modules that the wheel leaves out: checkpoints ship, the code that trained them does not."""
MODULES = [path for folder in FOLDERS for path in sorted((SOURCE / folder).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Dotted names below the root that a module imports: `models.config`."""
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *(node.module or "").split("."))).strip(".")
            yield from (f"{name}.{alias.name}".strip(".") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path) -> None:
    folder = path.relative_to(SOURCE).parts[0]
    for name in imported(path):
        own = name.removeprefix("tessella.").split(".")[0]
        assert own not in FOLDERS or own in MAY_IMPORT[folder], f"{folder} imports {name}"
        assert own != "cli", f"{folder} imports the command line"


def test_the_service_imports_torch_nowhere_but_in_a_runner() -> None:
    for path in (SOURCE / "server").rglob("*.py"):
        assert not any(name.split(".")[0] in ("torch", "triton") for name in imported(path)), path


def test_the_root_imports_nothing_and_no_other_folder_is_a_regular_package() -> None:
    assert not list(imported(SOURCE / "__init__.py"))
    tracked = subprocess.run(
        ["git", "ls-files", "*__init__.py"], cwd=SOURCE, capture_output=True, text=True, check=True
    )
    assert tracked.stdout.split() == ["__init__.py"]


def test_every_folder_with_modules_is_packaged() -> None:
    packages = tomllib.loads((SOURCE / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(("tessella", *path.relative_to(SOURCE).parent.parts)) for path in MODULES}
    assert folders - set(packages) == {f"tessella.{UNPACKAGED.replace('/', '.')}"}


def test_nothing_packaged_imports_what_is_not() -> None:
    for path in (SOURCE / "cli.py", *MODULES):
        if not path.is_relative_to(SOURCE / UNPACKAGED):
            names = [name.removeprefix("tessella.") for name in imported(path)]
            assert not [name for name in names if name.startswith(UNPACKAGED.replace("/", "."))], path


def test_what_is_installed_holds_every_file_of_the_package() -> None:
    """Against the wheel, this is the test that it lacks nothing: pages, weights and tables included."""
    installed = Path(tessella.__file__).parent
    assert (installed != SOURCE) == ("TESSELLA_TEST_WHEEL" in os.environ), installed
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=SOURCE, capture_output=True, text=True, check=True)
    files = ["__init__.py", "py.typed", "cli.py", *listed.stdout.split()]
    left_out = ("benchmarks/results/", f"{UNPACKAGED}/")
    assert not [name for name in files if not (installed / name).exists() and not name.startswith(left_out)]
    assert (installed / UNPACKAGED).exists() == (installed == SOURCE), "the wheel has the training"

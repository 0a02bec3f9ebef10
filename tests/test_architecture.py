"""House rules that a machine can check: imports, rooms per folder, mirrored tests, docstring titles, the wheel."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tessella

SOURCE = Path(__file__).parents[1]
TESTS = SOURCE / "tests"
FOLDERS = ("kernels", "models", "server", "benchmarks")
MAY_IMPORT = {
    "kernels": {"kernels"},
    "models": {"models", "kernels"},
    "server": {"server", "models"},
    "benchmarks": {"benchmarks", "models", "kernels"},
}
UNPACKAGED = "models/zoo/training"
"""The one folder with modules that the wheel leaves out: checkpoints ship, the code that trained them does not."""
GENERATED = "_pb2.py"
MODULES = [path for folder in FOLDERS for path in sorted((SOURCE / folder).rglob("*.py"))]
WRITTEN = [path for path in (SOURCE / "cli.py", *MODULES) if not path.name.endswith(GENERATED)]
MAX_ROOMS = {"kernels": 16, "models": 24, "server": 20, "benchmarks": 12}
"""Files and folders that one sees on opening a folder; 20 in any other."""
MAX_FLOORS = {"kernels": 8, "models": 7, "server": 12, "benchmarks": 4}
MAX_LINES = 300
NO_TITLE = re.compile(r"(What|Which|Whether|Those|So|Of|As|Who|Until)\b")


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


@cache
def imported_modules(path: Path) -> frozenset[Path]:
    """Files of ours that a module imports, inside functions as well."""
    candidates = (SOURCE / name.removeprefix("tessella.").replace(".", "/") for name in imported(path))
    files = (file for base in candidates for file in (base.with_suffix(".py"), base.parent.with_suffix(".py")))
    return frozenset(file for file in files if file in MODULES and file != path)


def rooms(folder: Path) -> dict[Path, set[Path]]:
    """Rooms of a folder (its modules, and its folders as one each), and the other rooms that each imports."""
    room_of = {path: folder / path.relative_to(folder).parts[0] for path in MODULES if path.is_relative_to(folder)}
    found: dict[Path, set[Path]] = {room: set() for room in room_of.values()}
    for path, room in room_of.items():
        found[room] |= {room_of[file] for file in imported_modules(path) if file in room_of} - {room}
    return found


def floors(graph: dict[Path, set[Path]]) -> dict[Path, int]:
    """Floor of each room: one above the highest that it imports. Fails where imports go in a circle."""
    floor: dict[Path, int] = {}
    while len(floor) < len(graph):
        ready = [room for room, below in graph.items() if room not in floor and below <= floor.keys()]
        assert ready, f"imports go in a circle: {sorted(map(str, graph.keys() - floor.keys()))}"
        floor |= {room: 1 + max((floor[other] for other in graph[room]), default=0) for room in ready}
    return floor


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=lambda path: path.name)
def test_a_folder_has_few_rooms_and_no_circle(folder: Path) -> None:
    name, graph = str(folder.relative_to(SOURCE)), rooms(folder)
    assert len(graph) <= MAX_ROOMS.get(name, 20), f"{name} has {len(graph)} rooms"
    highest = max(floors(graph).values())
    assert highest <= MAX_FLOORS.get(name, 20), f"{name} has {highest} floors"


def test_modules_import_each_other_in_no_circle() -> None:
    floors({path: set(imported_modules(path)) for path in MODULES})


def test_no_file_is_long() -> None:
    assert not [path for path in WRITTEN if len(path.read_text().splitlines()) > MAX_LINES]


@cache
def mirrored() -> dict[Path, Path | None]:
    """The module or page that each test file mirrors: `kernels/ops` for `kernels/test_ops.py` and `test_ops_gpu.py`."""
    pages = (SOURCE / "server" / "pages").glob("*.html")
    modules = [path.relative_to(SOURCE).with_suffix("") for path in (*WRITTEN, *pages)]
    files = [path.relative_to(TESTS) for folder in FOLDERS for path in (TESTS / folder).rglob("test_*.py")]
    return {
        file: max((m for m in modules if _mirrors(file, m)), key=lambda m: len(m.name), default=None) for file in files
    }


def _mirrors(test: Path, module: Path) -> bool:
    return test.parent == module.parent and f"{test.stem}_".startswith(f"test_{module.name}_")


def test_every_test_file_is_of_a_module() -> None:
    assert not [str(file) for file, module in mirrored().items() if module is None]


def test_every_module_has_a_test_file() -> None:
    names = [path.relative_to(SOURCE).with_suffix("") for path in WRITTEN]
    found = {
        *mirrored().values(),
        *(path.relative_to(TESTS).with_name(path.stem[5:]) for path in TESTS.glob("test_*.py")),
    }
    assert not [str(name) for name in names if name not in found]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(SOURCE)))
def test_docstring_titles_name_a_thing_or_an_action(path: Path) -> None:
    tree = ast.parse(path.read_text())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    titles = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    assert titles[0], "the module has no docstring"
    assert not [title for title in titles if NO_TITLE.match(title)]


def test_folders_shadow_no_package() -> None:
    """`kernels/triton`, `models/onnx` and `server/http` are namespace folders: the regular packages win over them."""
    program = "import http, onnx, triton; print(http.__file__, onnx.__file__, triton.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=SOURCE, capture_output=True, text=True, check=True)
    assert str(SOURCE / "kernels") not in done.stdout
    scripts = subprocess.run(
        ["git", "grep", "-nE", r"python3? [\"]?(kernels|models|server|benchmarks)/"],
        cwd=SOURCE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not scripts.stdout, "a file that is run as a script puts its own folder first"

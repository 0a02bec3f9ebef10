"""File tables of `docs/architecture.md`: one for each folder, made of the titles of its modules."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("kernels", "models", "server", "benchmarks")
_GENERATED = "_pb2.py"
_JS_TITLE = re.compile(r"/\*\* (.+?) \*/")


def file_tables(root: Path = ROOT) -> dict[str, str]:
    """Markdown tables by folder, relative to the root; the root's own is called `root`."""
    tables = {"root": _table([root / "cli.py"], root)}
    for folder in FOLDERS:
        modules = sorted(path for path in (root / folder).rglob("*") if path.suffix in (".py", ".js"))
        by_folder: dict[Path, list[Path]] = {}
        for module in modules:
            if not module.name.endswith(_GENERATED):
                by_folder.setdefault(module.parent, []).append(module)
        tables |= {str(place.relative_to(root)): _table(files, root) for place, files in sorted(by_folder.items())}
    return tables


def _table(files: list[Path], root: Path) -> str:
    rows = [f"| [`{file.name}`](../{file.relative_to(root).as_posix()}) | {title(file)} |" for file in files]
    return "\n".join(["| file | content |", "|---|---|", *rows])


def title(module: Path) -> str:
    """First line of a module's docstring, or of the comment that begins a script of the pages.

    Raises:
        ValueError: the module begins with neither.
    """
    text = module.read_text("utf-8")
    if module.suffix == ".js":
        comment = _JS_TITLE.match(text)
        first = comment[1] if comment else ""
    else:
        first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    if not first:
        raise ValueError(f"{module} begins with no title for the architecture page")
    return first.replace("|", "\\|")

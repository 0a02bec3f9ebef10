"""The architecture page: tables for the folders that exist and no others, and files that exist in its text."""

import re
from pathlib import Path

import pytest

from .support.architecture_tables import FOLDERS, ROOT, file_tables, title

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FILE = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.[a-z]+|[a-z_0-9]+\.(?:py|js|css|proto))`")


def test_the_page_has_a_table_for_every_folder_with_modules_and_no_other() -> None:
    assert sorted(re.findall(r"^<!-- ([^/].*) -->$", PAGE, re.MULTILINE)) == sorted(file_tables())


def test_a_table_lists_every_module_of_its_folder() -> None:
    listed = re.findall(r"^\| \[`[^`]+`\]\(\.\./(.+?)\) \|", PAGE, re.MULTILINE)
    modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(listed) == len(set(listed))
    assert {str(path.relative_to(ROOT)) for path in modules if not path.name.endswith("_pb2.py")} <= set(listed)
    assert all((ROOT / name).is_file() for name in listed)


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    names = {path.name for pattern in ("*.py", "[a-z]*/**/*.*") for path in ROOT.glob(pattern)}
    for name in FILE.findall((ROOT / page).read_text("utf-8")):
        assert (ROOT / name).is_file() if "/" in name else name in names, name


def test_every_class_that_the_text_names_exists() -> None:
    text = PAGE.partition("## The files")[0]
    source = "".join(
        path.read_text("utf-8") for folder in ("models", "server") for path in (ROOT / folder).rglob("*.py")
    )
    for name in set(re.findall(r"`([A-Z][a-z]\w+|[A-Z]{2,}[a-z]\w+)`", text)):
        assert re.search(rf"^class {name}\b", source, re.MULTILINE), name


@pytest.mark.parametrize(
    ("name", "text", "first"),
    [("a.py", '"""Title.\n\nMore."""\n', "Title."), ("b.js", "/** A | B. */\n", "A \\| B.")],
)
def test_a_title_is_the_first_line_of_a_module(tmp_path: Path, name: str, text: str, first: str) -> None:
    (tmp_path / name).write_text(text)
    assert title(tmp_path / name) == first


def test_a_module_without_a_title_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\n")
    with pytest.raises(ValueError, match="begins with no title"):
        title(tmp_path / "a.py")

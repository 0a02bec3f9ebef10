"""Commands, options, settings and make targets named in the README and in `docs/`: all of them exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tessella.cli import app
from tessella.server.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
COMMAND = re.compile(r"(?:\$ |`)tessella ([a-z-]+(?: [a-z-]+)?)([^`#\n]*)")
OTHERS = ("--target",)  # of docker build


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All of Typer's commands below a group by their path, such as `bench models`."""
    for name, command in group.commands.items():
        own = f"{path} {name}".strip()
        yield from commands(command, own) if hasattr(command, "commands") else [(own, command)]


COMMANDS = dict(commands(typer.main.get_command(app)))
GROUPS = {path.split()[0] for path in COMMANDS}
OPTIONS = {
    path: {flag for p in command.params for flag in p.opts + p.secondary_opts} for path, command in COMMANDS.items()
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    for words, rest in COMMAND.findall(page.read_text("utf-8")):
        path = words if words in COMMANDS else words.split()[0]
        if path not in COMMANDS:
            assert words in GROUPS, words
            continue
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest):
            assert option in OPTIONS[path], f"{path} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_and_variable_of_a_text_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    known = set(OTHERS).union(*OPTIONS.values())
    assert set(re.findall(r"`(--[a-z][a-z-]+)", text)) <= known
    variables = {f"TESSELLA_{name.upper()}" for name in Settings.model_fields} | {"TESSELLA_REQUIRE_BROWSER"}
    assert set(re.findall(r"TESSELLA_[A-Z_]+", text)) <= variables


@pytest.mark.parametrize("name", ["operations", "processes", "models-at-run-time"])
def test_every_setting_of_a_page_on_operation_exists(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: = [^`]*)?`", text))
    assert named
    assert named <= set(Settings.model_fields)


def test_every_make_target_of_a_page_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", "".join(page.read_text("utf-8") for page in PAGES)))
    assert {"serve", "test"} <= named <= targets

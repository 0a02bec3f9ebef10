"""Examples in the README and in `docs/`: every console and Python block runs against a real server.

A block is left out only where `<!-- not run: reason -->` stands on the line before it.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tessella.server.settings import Settings

from .support.live import served

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
ADDRESS = re.compile(r"(localhost|127\.0\.0\.1):8000")
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
TOOLS = f"""
curl() {{ command curl --silent --show-error --fail-with-body "$@"; echo; }}
tessella() {{ {sys.executable} -m tessella.cli "$@"; }}
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, position on the page, language, text, and why it is not run."""

    page: str
    number: int
    language: str
    text: str
    reason: str | None

    @property
    def commands(self) -> str:
        """Lines after a prompt, with those that follow a backslash."""
        return "\n".join(re.findall(r"^\$ ((?:.*\\\n)*.*)$", self.text, re.MULTILINE))


def blocks(*languages: str) -> list[Block]:
    return [
        Block(page.name, number, match["language"], match["text"], match["reason"])
        for page in PAGES
        for number, match in enumerate(BLOCK.finditer(page.read_text("utf-8")))
        if match["language"] in languages
    ]


EXAMPLES = [block for block in blocks("console", "python") if block.reason is None]


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The URL of a server for the examples alone, because some of them change what is served."""
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images that the examples name."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "docs" / "images", folder / "docs" / "images")
    return folder


def test_the_page_on_clients_shows_the_clients_that_people_have() -> None:
    text = "".join(block.text for block in EXAMPLES if block.page == "clients.md")
    for client in ("curl", "requests", "InferenceClient", "openai", "tritonclient"):
        assert client in text


def test_a_block_that_is_not_run_says_why() -> None:
    assert all(block.reason is None or len(block.reason) > 10 for block in blocks("console", "python"))
    assert len(re.findall("<!-- not run", "".join(page.read_text("utf-8") for page in PAGES))) == sum(
        block.reason is not None for block in blocks("console", "python")
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda block: f"{block.page}-{block.number}")
def test_an_example_runs_and_prints_an_answer(service: str, folder: Path, example: Block) -> None:
    host = service.removeprefix("http://")
    shell = example.language == "console"
    code = ADDRESS.sub(host, example.commands if shell else example.text)
    run = ["bash", "-euc", TOOLS + code] if shell else [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip() or (shell and "tessella " in code and result.stderr.strip())
    if shell and all(line.startswith("curl ") for line in example.commands.replace("\\\n", "").splitlines()):
        for line in filter(None, result.stdout.splitlines()):
            json.loads(line)


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: f"{block.page}-{block.number}")
def test_an_example_of_the_settings_file_is_valid(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tessella.toml").write_text(block.text)
    (tmp_path / "keys").write_text("secret\n")
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert {name for name in tomllib.loads(block.text) if getattr(settings, name)} == set(tomllib.loads(block.text))

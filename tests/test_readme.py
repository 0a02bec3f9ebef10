"""The README's section on clients does what it says: each of its blocks is run against a real server."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .support import pictures

SECTION = "Clients"
ADDRESS = re.compile(r"(localhost|127\.0\.0\.1):8000")
CURL = 'curl() { command curl --silent --show-error --fail-with-body "$@"; echo; }\n'


def blocks() -> list[tuple[str, str]]:
    """Language and text of each fenced block of the section."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (section,) = re.findall(rf"^## {SECTION}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def commands(console: str) -> str:
    """What a reader types: the lines after a prompt, and those that go on after a backslash."""
    return "\n".join(re.findall(r"^\$ ((?:.*\\\n)*.*)$", console, re.MULTILINE))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the image that the snippets name."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "digit.png").write_bytes(pictures.encode(pictures.gradient()))
    return folder


def test_the_section_has_the_clients_that_people_have() -> None:
    text = "".join(block for _, block in blocks())
    for client in ("curl", "requests", "InferenceClient", "openai", "tritonclient"):
        assert client in text


@pytest.mark.parametrize("number", range(len(blocks())))
def test_a_snippet_runs_and_shows_an_answer(service: str, place: Path, number: int) -> None:
    language, block = blocks()[number]
    host = service.removeprefix("http://")
    code = ADDRESS.sub(host, commands(block) if language == "console" else block)
    run = ["bash", "-euc", CURL + code] if language == "console" else [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(run, cwd=place, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()
    if language == "console":
        for line in filter(None, result.stdout.splitlines()):
            json.loads(line)

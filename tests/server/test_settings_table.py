"""The README's table of settings."""

from pathlib import Path

import pytest

import tessella
from tessella.models.documents import replace_part
from tessella.server.settings import Settings
from tessella.server.settings_table import PART, render

README = Path(tessella.__file__).parent / "README.md"


def test_the_readme_is_current() -> None:
    if not README.exists():
        pytest.skip("a wheel has no README")
    text = README.read_text("utf-8")
    assert replace_part(text, PART, render()) == text, "run `make readme`"


def test_every_setting_has_a_row_with_its_default_and_choices() -> None:
    rows = render().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [f"TESSELLA_{name.upper()}" for name in Settings.model_fields]
    assert all(row.count(" | ") == 2 and len(row.split(" | ")[2]) > 5 for row in rows)
    by_name = {row.split("`")[1]: row for row in rows}
    assert "| `digits-vit,digits-tnt` |" in by_name["TESSELLA_MODEL"]
    assert "| `60000` |" in by_name["TESSELLA_TIMEOUT_MS"]
    assert "text, json" in by_name["TESSELLA_LOG_FORMAT"]
    assert "|  |" in by_name["TESSELLA_API_KEY"]

"""The README's table of what loads."""

from pathlib import Path

import pytest

import tessella
from tessella.models.documents import replace_part
from tessella.models.table import FAMILIES, PART, render

README = Path(tessella.__file__).parent / "README.md"


def test_the_readme_is_current() -> None:
    if not README.exists():
        pytest.skip("a wheel has no README")
    text = README.read_text("utf-8")
    assert replace_part(text, PART, render()) == text, "run `make readme`"


def test_at_least_twenty_variants_are_held_against_their_reference() -> None:
    names = [name for family in FAMILIES for name in family.architectures]
    assert len(names) == len(set(names)) >= 20

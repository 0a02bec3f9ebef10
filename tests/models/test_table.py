"""The README's table of what loads."""

from pathlib import Path

import pytest

import tessella
from tessella.models.table import BEGIN, END, FAMILIES, render, rewrite

README = Path(tessella.__file__).parent / "README.md"


def test_the_readme_is_current() -> None:
    text = README.read_text("utf-8") if README.exists() else ""
    if BEGIN not in text:
        pytest.skip("the README has no markers for the table")
    assert rewrite(text) == text, "run `python -m tessella.models.table`"


def test_at_least_twenty_variants_are_held_against_their_reference() -> None:
    names = [name for family in FAMILIES for name in family.architectures]
    assert len(names) == len(set(names)) >= 20


def test_the_rest_of_the_document_stays() -> None:
    old = f"# tessella\n{BEGIN}\nan old table\n{END}\nmore\n"
    assert rewrite(old) == f"# tessella\n{BEGIN}\n{render()}\n{END}\nmore\n"


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="has no lines <!-- what loads -->"):
        rewrite("# tessella\n")

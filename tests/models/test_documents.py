"""Parts of a document between markers."""

import pytest

from tessella.models.documents import replace_part


def test_the_rest_of_the_document_stays() -> None:
    old = "# tessella\n<!-- a -->\nan old table\n<!-- /a -->\nmore\n"
    assert replace_part(old, "a", "new") == "# tessella\n<!-- a -->\nnew\n<!-- /a -->\nmore\n"


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="has no lines <!-- what loads -->"):
        replace_part("# tessella\n<!-- /what loads -->", "what loads", "")

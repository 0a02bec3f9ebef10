"""OpenAI's image objects: the URL at either place, and nothing else."""

from typing import Any

import pytest
from pydantic import ValidationError

from tessella.server.routes.openai_images import ImagePart


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:,a", "detail": "low"}},
        {"image_url": "data:,a"},
        {"url": "data:,a"},
        {"type": "image_url", "url": "data:,a"},
    ],
)
def test_the_url_of_every_form(part: dict[str, Any]) -> None:
    assert ImagePart.model_validate(part).text == "data:,a"


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"url": "data:,a", "image_url": "data:,a"},
        {"type": "text", "url": "data:,a"},
        {"image_url": {"uri": "data:,a"}},
        {"url": 7},
        {"url": "data:,a", "text": "a cat"},
    ],
)
def test_other_objects_are_rejected(part: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImagePart.model_validate(part)

"""The names of a checkpoint's classes: its own, ImageNet-1k's where it has 1000 and names none, or numbers."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import CheckpointError


@cache
def imagenet_1k() -> tuple[str, ...]:
    """WordNet's names of the 1000 classes, in the order that every published ImageNet-1k head has."""
    return tuple(json.loads((Path(__file__).parent / "imagenet_1k.json").read_text("utf-8"))["names"])


def read_labels(document: Mapping[str, Any] | None, num_classes: int) -> tuple[tuple[str, ...], str | None]:
    """One label per class, and a sentence where they were concluded rather than read.

    Args:
        document: the checkpoint's `config.json`: `id2label` (Hugging Face) or `label_names` (timm).

    Raises:
        CheckpointError: it names another number of classes than the head has.
    """
    named = _named(document or {}) if num_classes else None
    if named is not None:
        if len(named) != num_classes:
            raise CheckpointError(f"config.json names {len(named)} classes, the head has {num_classes}")
        return named, None
    if num_classes == 1000:
        return imagenet_1k(), "ImageNet-1k's, as there are 1000 classes and none is named"
    return tuple(f"class {index}" for index in range(num_classes)), "numbers, as no class is named"


def _named(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    if by_id := document.get("id2label"):
        return tuple(str(by_id[index]) for index in sorted(by_id, key=int))
    recipe = document.get("pretrained_cfg", {})
    names = document.get("label_names") or recipe.get("label_names")
    if not names:
        return None
    if isinstance(names, Mapping):
        names = [names[index] for index in sorted(names, key=int)]
    descriptions = document.get("label_descriptions") or recipe.get("label_descriptions") or {}
    return tuple(str(descriptions.get(name, name)) for name in names)

"""Class labels of a checkpoint: its own, ImageNet-1k's for 1000 unnamed classes, or numbers. No torch."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import CheckpointError


@cache
def imagenet_1k() -> tuple[str, ...]:
    """ImageNet-1k labels: WordNet's names of the 1000 classes, in the order of published classification heads."""
    return tuple(json.loads((Path(__file__).parent / "imagenet_1k.json").read_text("utf-8"))["names"])


def read_labels(document: Mapping[str, Any] | None, num_classes: int) -> tuple[tuple[str, ...], str | None]:
    """Labels, one per class, and a note if they were inferred rather than read.

    Args:
        document: the checkpoint's `config.json`: `id2label` (Hugging Face) or `label_names` (timm).

    Raises:
        CheckpointError: the document and the head have different numbers of classes.
    """
    labels = _own_labels(document or {}) if num_classes else None
    if labels is not None:
        if len(labels) != num_classes:
            raise CheckpointError(f"config.json names {len(labels)} classes, the head has {num_classes}")
        return labels, None
    if num_classes == 1000:
        return imagenet_1k(), "ImageNet-1k labels, as there are 1000 classes without names"
    return tuple(f"class {index}" for index in range(num_classes)), "class numbers, as the checkpoint names no classes"


def _own_labels(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    if by_id := document.get("id2label"):
        return tuple(map(str, _by_index(by_id, "id2label")))
    pretrained_cfg = document.get("pretrained_cfg", {})
    names = document.get("label_names") or pretrained_cfg.get("label_names")
    if not names:
        return None
    if isinstance(names, Mapping):
        names = _by_index(names, "label_names")
    descriptions = document.get("label_descriptions") or pretrained_cfg.get("label_descriptions") or {}
    return tuple(str(descriptions.get(name, name)) for name in names)


def _by_index(labels: Any, key: str) -> list[Any]:
    """Values of a mapping from class index to label, in the order of the indices.

    Raises:
        CheckpointError: it is no mapping, or its keys are not 0 to n - 1, each once.
    """
    by_index = (
        {int(index): label for index, label in labels.items() if str(index).isdecimal()}
        if isinstance(labels, Mapping)
        else {}
    )
    if sorted(by_index) != list(range(len(labels))):
        keys = ", ".join(map(repr, list(labels)[:3]))
        raise CheckpointError(
            f"config.json has {key} with {keys}, …; expected a mapping from the class indices, "
            f'"0" to "{len(labels) - 1}" without gaps, to the labels'
        )
    return [by_index[index] for index in sorted(by_index)]

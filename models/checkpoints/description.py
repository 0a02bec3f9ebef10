"""Checkpoint description in the header of our safetensors files: config, labels, preprocessing. No torch."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ..config import Config, TNTConfig, ViTConfig
from ..preprocessing.preprocess import Preprocessing

HEADER_KEY = "tessella"
_FAMILIES: dict[str, type[ViTConfig] | type[TNTConfig]] = {"vit": ViTConfig, "tnt": TNTConfig}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Checkpoint metadata: everything but the weights."""

    name: str
    config: Config
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    """Training record (data, split, seeds, accuracy) or notes on inferred settings; informational."""

    def to_json(self) -> str:
        """JSON document for the header."""
        family = next(name for name, config in _FAMILIES.items() if isinstance(self.config, config))
        document = asdict(self) | {"family": family}
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """Description in a JSON document.

        Raises:
            KeyError, TypeError, ValueError: it is not one that this version understands.
        """
        document = json.loads(text)
        family = _FAMILIES[document.pop("family")]
        preprocessing = document.pop("preprocessing")
        return cls(
            config=family(**document.pop("config")),
            preprocessing=Preprocessing(**preprocessing | {key: tuple(preprocessing[key]) for key in ("mean", "std")}),
            labels=tuple(document.pop("labels")),
            **document,
        )


def read_description(path: Path) -> Description | None:
    """Description in a safetensors file's header, or None if the file is not one of ours.

    Raises:
        ValueError: the header is ours, but not one that this version understands, or has not one label per class.
    """
    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {}).get(HEADER_KEY)
    if text is None:
        return None
    try:
        description = Description.from_json(text)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its {HEADER_KEY!r} header is not one that this version reads: {error!r}") from error
    _check_labels(path, description)
    return description


def _check_labels(path: Path, description: Description) -> None:
    """Check that each class has one label: otherwise results would lack labels, or have those of other classes."""
    labels, classes = len(description.labels), description.config.num_classes
    if labels != classes:
        raise ValueError(f"{path}: its {HEADER_KEY!r} header has {labels} labels for {classes} classes")

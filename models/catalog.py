"""What can be named as a model on this machine: shipped and cached checkpoints, architectures. Knows no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .checkpoints import hub
from .checkpoints.sources import shipped
from .config import Config, TNTConfig
from .costs import gmacs, parameters
from .errors import CheckpointError, ModelNotFoundError
from .registry import describe, describe_path
from .variants import VARIANTS

Kind = Literal["architecture", "shipped", "cached"]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One line of `tessella models`.

    `name`: what `--model` takes (for an architecture: what `architecture` takes). `parameters`: a count. `gmacs`: 10⁹
    multiply-accumulates for one image, as published tables count.
    """

    kind: Kind
    name: str
    family: Literal["ViT", "TNT"]
    image_size: int
    num_classes: int
    parameters: int
    gmacs: float

    @classmethod
    def of(cls, kind: Kind, name: str, config: Config) -> "CatalogEntry":
        family: Literal["ViT", "TNT"] = "TNT" if isinstance(config, TNTConfig) else "ViT"
        return cls(kind, name, family, config.image_size, config.num_classes, parameters(config), gmacs(config))


def list_models() -> list[CatalogEntry]:
    """Shipped checkpoints, then cached ones, then the known architectures. Asks no network and loads no weights."""
    entries = [CatalogEntry.of("shipped", name, describe(name).config) for name in shipped()]
    entries += [CatalogEntry.of("cached", name, config) for name, config in _cached()]
    return entries + [CatalogEntry.of("architecture", name, config) for name, config in VARIANTS.items()]


def _cached() -> Iterator[tuple[str, Config]]:
    """Those of the cache's repositories that can be served as they lie there."""
    for name, folder in hub.cached():
        if (config := _config(folder)) is not None:
            yield name, config


def _config(folder: Path) -> Config | None:
    try:
        return describe_path(folder).config
    except (CheckpointError, ModelNotFoundError):
        return None

"""Model catalog: shipped checkpoints, those in the hub's cache, and known architectures. No torch."""

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
    """Catalog entry: a row of `tessella models`.

    Attributes:
        name: value for `--model` (for an architecture: for `--architecture`).
        image_size: side of the input in pixels.
        parameters: number of parameters.
        gmacs: 10⁹ multiply-accumulates per image, as published tables count them.
    """

    kind: Kind
    name: str
    family: Literal["ViT", "TNT"]
    image_size: int
    num_classes: int
    parameters: int
    gmacs: float

    @classmethod
    def from_config(cls, kind: Kind, name: str, config: Config) -> "CatalogEntry":
        """Entry for a network configuration, with its parameters and GMACs counted."""
        family: Literal["ViT", "TNT"] = "TNT" if isinstance(config, TNTConfig) else "ViT"
        return cls(kind, name, family, config.image_size, config.num_classes, parameters(config), gmacs(config))


def list_models() -> list[CatalogEntry]:
    """Catalog entries: shipped checkpoints, cached ones, architectures. No network access; weights are not loaded."""
    entries = [CatalogEntry.from_config("shipped", name, describe(name).config) for name in shipped()]
    entries += [CatalogEntry.from_config("cached", name, config) for name, config in _cached()]
    return entries + [CatalogEntry.from_config("architecture", name, config) for name, config in VARIANTS.items()]


def _cached() -> Iterator[tuple[str, Config]]:
    """Names and configurations of the cached repositories that can be served."""
    for name, folder in hub.cached():
        if (config := _config(folder)) is not None:
            yield name, config


def _config(folder: Path) -> Config | None:
    try:
        return describe_path(folder).config
    except (CheckpointError, ModelNotFoundError):
        return None

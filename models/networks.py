"""A configuration becomes the plain network it describes."""

from .config import Config, ViTConfig
from .tnt import TNT
from .vit import ViT


def build(config: Config) -> ViT | TNT:
    """A freshly initialised network, float32, in training mode."""
    return ViT(config) if isinstance(config, ViTConfig) else TNT(config)

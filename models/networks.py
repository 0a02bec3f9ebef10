"""A configuration becomes the plain network it describes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .config import Config, ViTConfig
from .tnt import TNT
from .vit import ViT


def build(config: Config) -> ViT | TNT:
    """A freshly initialised network, float32, in training mode."""
    return ViT(config) if isinstance(config, ViTConfig) else TNT(config)


def assemble(config: Config, state: Mapping[str, Tensor]) -> ViT | TNT:
    """The network around these tensors (not copies of them), in evaluation mode; `state` is complete."""
    with torch.device("meta"):
        network = build(config)
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()

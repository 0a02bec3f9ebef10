"""An architecture without a checkpoint: fresh weights, which show that the code handles its size and nothing else."""

import torch

from . import recipes
from .networks import build
from .preprocess import Preprocessing
from .tnt import TNT
from .variants import find
from .vit import ViT


def random_network(architecture: str, seed: int = 0) -> tuple[ViT | TNT, Preprocessing]:
    """As training starts it: evaluation mode, float32, on the CPU; and how timm would prepare images for it.

    Raises:
        ValueError: no such architecture.
    """
    config = find(architecture)
    if config is None:
        raise ValueError(f"{architecture!r} is no architecture; `tessella models` lists them")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build(config)
    return network.requires_grad_(False).eval(), recipes.assumed(architecture, config.image_size)

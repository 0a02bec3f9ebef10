"""Plain networks built from a configuration, with or without weights and pixel normalisation."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ...kernels.reference import normalise
from ..config import Config, ViTConfig
from .tnt import TNT
from .vit import ViT

N = TypeVar("N", bound=nn.Module)


def build(config: Config) -> ViT | TNT:
    """Network with initial weights: float32, training mode."""
    return ViT(config) if isinstance(config, ViTConfig) else TNT(config)


def build_with_weights(config: Config, state: Mapping[str, Tensor]) -> ViT | TNT:
    """Network that holds these tensors (not copies), in evaluation mode.

    Args:
        state: complete state dict; `checkpoints.convert` checks it.
    """
    with torch.device("meta"):
        network = build(config)
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


class NormalizedNetwork(nn.Module, Generic[N]):
    """Plain network with pixel normalisation before it.

    `forward`: uint8 (B, H, W, 3) -> the network's output, such as logits (B, classes), in its dtype.

    Args:
        network: takes normalised images (B, 3, H, W); not copied; on one device and in one dtype.
        mean, std: of the three channels, in units of the pixel range 0..1. They stay float32: convert the
            dtype of the network before, not of this module.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: N, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        weight = next(network.parameters())
        self.network = network
        self.dtype = weight.dtype
        self.register_buffer("mean", torch.tensor(mean, device=weight.device))
        self.register_buffer("std", torch.tensor(std, device=weight.device))

    def images(self, pixels: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) in the network's dtype, from uint8 pixels (B, H, W, 3)."""
        return normalise(pixels, self.mean, self.std, self.dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        output: Tensor = self.network(self.images(pixels))
        return output

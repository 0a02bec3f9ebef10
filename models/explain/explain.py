"""Explanation of a network's output for an image: attention, rollout, attention distances, feature maps.

Computed by the plain network; the folded one, which serves requests, is not involved.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..config import Config, TNTConfig, ViTConfig
from ..networks.tnt import TNT
from ..networks.vit import ViT
from .attention_maps import Rollout, head_mean, mean_distance, pooled_attention
from .hooks import layer_hooks

Method = Literal["attention", "rollout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerExplanation:
    """Explanation of a TNT's inner blocks. L layers, h inner heads, G inner tokens along a side of the image.

    `attention`: (L, h, G, G), attention to each inner token, averaged over the queries of its patch; a patch sums to
    one. `distance`: (L, h), mean attention distance in pixels. `features`: (L, d, G, G), inner tokens after each block.
    """

    attention: Tensor
    distance: Tensor
    features: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Explanation of one image, in the network's dtype. L layers, H heads, g patches along a side.

    `attention`: (L, H, g, g), attention of the class token to each patch; for a mean-pooled head, the mean over all
    patches. `rollout`: (L, g, g), the same through all layers so far. `distance`: (L, H), mean attention distance in
    pixels. `features`: (L, D, g, g), patch tokens after each block. `logits`: (classes,). `inner`: only of a TNT.
    """

    attention: Tensor
    rollout: Tensor
    distance: Tensor
    features: Tensor
    logits: Tensor
    inner: InnerExplanation | None


@torch.inference_mode()
def explain(network: ViT | TNT, image: Tensor) -> Explanation:
    """Explanation of one normalised image (3, H, W)."""
    config, prefix = network.config, _prefix(network.config)
    maps, flows, distances, features = [], [], [], []
    inner_maps, inner_distances, inner_features = [], [], []
    rollout = Rollout()

    def on_attention(weights: Tensor) -> None:
        flows.append(_pooled(rollout(weights), config))
        maps.append(_pooled(weights, config))
        distances.append(mean_distance(weights, config.grid, config.patch_size, prefix))

    def on_inner_attention(weights: Tensor) -> None:  # (P, h, W, W)
        assert isinstance(config, TNTConfig)
        inner_maps.append(weights.mean(dim=2).transpose(0, 1))  # (h, P, W)
        side = math.isqrt(config.words)
        inner_distances.append(mean_distance(weights, side, config.sub_patch_size).mean(dim=0))

    with layer_hooks(
        network,
        attention=on_attention,
        inner_attention=on_inner_attention,
        tokens=lambda tokens: features.append(tokens[0, prefix:].T),
        inner_tokens=lambda tokens: inner_features.append(tokens.permute(2, 0, 1)),
    ):
        logits = network(image[None])[0]
    return Explanation(
        attention=_square(torch.cat(maps)),
        rollout=_square(torch.cat(flows)),
        distance=torch.cat(distances),
        features=_square(torch.stack(features)),
        logits=logits,
        inner=InnerExplanation(
            attention=_image_grid(torch.stack(inner_maps)),
            distance=torch.stack(inner_distances),
            features=_image_grid(torch.stack(inner_features)),
        )
        if inner_features
        else None,
    )


@torch.inference_mode()
def attention_maps(network: ViT | TNT, images: Tensor, method: Method) -> Tensor:
    """Attention maps of normalised images: (B, 3, H, W) -> float32 (B, L, g, g).

    `Explanation.attention` averaged over heads, or `Explanation.rollout`, of each image.
    """
    reduce = head_mean if method == "attention" else Rollout()
    maps: list[Tensor] = []
    with layer_hooks(network, attention=lambda weights: maps.append(_pooled(reduce(weights), network.config))):
        network(images)
    return _square(torch.stack(maps, dim=1)).float()


def _prefix(config: Config) -> int:
    return config.prefix_tokens if isinstance(config, ViTConfig) else 1


def _pooled(weights: Tensor, config: Config) -> Tensor:
    return pooled_attention(weights, _prefix(config), mean=isinstance(config, ViTConfig) and config.pooling == "mean")


def _square(patches: Tensor) -> Tensor:  # (…, g²) -> (…, g, g)
    side = math.isqrt(patches.shape[-1])
    return patches.unflatten(-1, (side, side))


def _image_grid(inner_tokens: Tensor) -> Tensor:
    """Values of each patch's inner tokens, arranged as in the image: (…, P, W) -> (…, G, G)."""
    grid, side = math.isqrt(inner_tokens.shape[-2]), math.isqrt(inner_tokens.shape[-1])
    split = inner_tokens.unflatten(-1, (side, side)).unflatten(-3, (grid, grid))  # (…, rows, columns, side, side)
    return split.transpose(-3, -2).flatten(-2).flatten(-3, -2)

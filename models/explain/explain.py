"""What a published network attends to and what it makes of an image: numbers, for pictures and for the service.

A path of its own over the plain network; the folded one, which answers requests, is never touched.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..config import Config, TNTConfig, ViTConfig
from ..networks.tnt import TNT
from ..networks.vit import ViT
from .attention_maps import Rollout, head_mean, mean_distance, read_out
from .hooks import watching

Method = Literal["attention", "rollout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a TNT does within its patches. L layers, h inner heads, G words along a side of the image.

    `attention`: (L, h, G, G), how much the words of a patch look at each of them, on average; a patch sums to one.
    `distance`: (L, h), in pixels. `features`: (L, d, G, G), the words after each block.
    """

    attention: Tensor
    distance: Tensor
    features: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Of one image; in the network's dtype. L layers, H heads, g patches along a side.

    `attention`: (L, H, g, g), what the class token gives to each patch; or what all do for a mean-pooled head.
    `rollout`: (L, g, g), how much of each patch has arrived there through all layers so far.
    `distance`: (L, H), how far patches look, in pixels. `features`: (L, D, g, g), the patch tokens after each block.
    `inside`: of a TNT. `logits`: (classes,), the network's own.
    """

    attention: Tensor
    rollout: Tensor
    distance: Tensor
    features: Tensor
    logits: Tensor
    inside: Inside | None


@torch.inference_mode()
def explain(network: ViT | TNT, image: Tensor) -> Explanation:
    """One normalised image (3, H, W) -> what the network made of it."""
    config, prefix = network.config, _prefix(network.config)
    reads, flows, distances, features = [], [], [], []
    inner_reads, inner_distances, words = [], [], []
    rollout = Rollout()

    def attention(weights: Tensor) -> None:
        flows.append(_read(rollout(weights), config))
        reads.append(_read(weights, config))
        distances.append(mean_distance(weights, config.grid, config.patch_size, prefix))

    def inner(weights: Tensor) -> None:  # (P, h, W, W)
        assert isinstance(config, TNTConfig)
        inner_reads.append(weights.mean(dim=2).transpose(0, 1))  # (h, P, W)
        side = math.isqrt(config.words)
        inner_distances.append(mean_distance(weights, side, config.sub_patch_size).mean(dim=0))

    with watching(
        network,
        attention=attention,
        inner_attention=inner,
        tokens=lambda tokens: features.append(tokens[0, prefix:].T),
        words=lambda some: words.append(some.permute(2, 0, 1)),
    ):
        logits = network(image[None])[0]
    return Explanation(
        attention=_square(torch.cat(reads)),
        rollout=_square(torch.cat(flows)),
        distance=torch.cat(distances),
        features=_square(torch.stack(features)),
        logits=logits,
        inside=Inside(
            attention=_mosaic(torch.stack(inner_reads)),
            distance=torch.stack(inner_distances),
            features=_mosaic(torch.stack(words)),
        )
        if words
        else None,
    )


@torch.inference_mode()
def maps(network: ViT | TNT, images: Tensor, method: Method) -> Tensor:
    """`Explanation.attention`, heads averaged, or `.rollout`, of (B, 3, H, W) images -> float32 (B, L, g, g)."""
    attended = head_mean if method == "attention" else Rollout()
    reads: list[Tensor] = []
    with watching(network, attention=lambda weights: reads.append(_read(attended(weights), network.config))):
        network(images)
    return _square(torch.stack(reads, dim=1)).float()


def _prefix(config: Config) -> int:
    return config.prefix_tokens if isinstance(config, ViTConfig) else 1


def _read(weights: Tensor, config: Config) -> Tensor:
    return read_out(weights, _prefix(config), mean=isinstance(config, ViTConfig) and config.pooling == "mean")


def _square(patches: Tensor) -> Tensor:  # (…, g²) -> (…, g, g)
    side = math.isqrt(patches.shape[-1])
    return patches.unflatten(-1, (side, side))


def _mosaic(words: Tensor) -> Tensor:
    """Words of patches, where they lie in the image: (…, P, W) -> (…, G, G)."""
    grid, side = math.isqrt(words.shape[-2]), math.isqrt(words.shape[-1])
    apart = words.unflatten(-1, (side, side)).unflatten(-3, (grid, grid))  # (…, rows, columns, side, side)
    return apart.transpose(-3, -2).flatten(-2).flatten(-3, -2)

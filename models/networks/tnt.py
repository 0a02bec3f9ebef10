"""Transformer in Transformer in plain PyTorch. As in the paper, sub-patches are words and patches sentences."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import TNTConfig
from .layers import EncoderBlock, initialise, patchify


class TNT(nn.Module):
    """Transformer in Transformer (Han et al., arXiv 2103.00112).

    `forward`: normalised float images (B, 3, H, W) -> logits (B, num_classes), or features (B, dim) without a head.
    Inner tokens are (B·patches, words, inner_dim), outer tokens (B, 1 + patches, dim).
    """

    def __init__(self, config: TNTConfig) -> None:
        super().__init__()
        self.config = config
        self.sub_patch_embedding = SubPatchEmbedding(config)
        self.inner_position = (
            nn.Parameter(torch.empty(config.words, config.inner_dim)) if config.inner_position else None
        )
        self.sentence = WordProjection(config, per_word=False, bias=True)
        self.class_token = nn.Parameter(torch.empty(1, config.dim))
        self.outer_position = nn.Parameter(torch.empty(config.tokens, config.dim)) if config.outer_position else None
        self.blocks = nn.ModuleList(TNTBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.head = nn.Linear(config.dim, config.num_classes) if config.num_classes else nn.Identity()
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, classes)
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, D)
        """Embedding of the image: the class token after the last norm, which the head reads."""
        return self.encode(images)[:, 0]

    def pooled(self, images: Tensor, pooling: Literal["cls", "mean"]) -> Tensor:  # (B, 3, H, W) -> (B, D)
        """Class token, which the head reads, or mean of the patch tokens, after the last norm."""
        tokens = self.encode(images)
        return tokens[:, 0] if pooling == "cls" else tokens[:, 1:].mean(dim=1)

    def encode(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, N, D)
        """Outer tokens after the last block, normalised."""
        inner = self.sub_patch_embedding(images)  # (B·P, W, d)
        if self.inner_position is not None:
            inner = inner + self.inner_position
        patches = self.sentence(inner).unflatten(0, (len(images), -1))  # (B, P, D)
        outer = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
        if self.outer_position is not None:
            outer = outer + self.outer_position
        for block in self.blocks:
            inner, outer = block(inner, outer)
        return self.norm(outer)


class TNTBlock(nn.Module):
    """TNT block: inner encoder block on words, their projection added to the patch tokens, outer encoder block.

    `forward`: inner (B·P, W, d) and outer (B, 1 + P, D) tokens -> the same shapes.
    """

    def __init__(self, config: TNTConfig) -> None:
        super().__init__()
        bias, eps = config.qkv_bias, config.norm_eps
        self.inner = EncoderBlock(
            config.inner_dim, config.inner_heads, config.inner_mlp_dim, qkv_bias=bias, norm_eps=eps
        )
        legacy = not config.normalise_projection
        self.to_outer = WordProjection(config, per_word=legacy, bias=legacy)
        self.outer = EncoderBlock(config.dim, config.heads, config.mlp_dim, qkv_bias=bias, norm_eps=eps)

    def forward(self, inner: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.inner(inner)
        addition = self.to_outer(inner).unflatten(0, (len(outer), -1))  # (B, P, D)
        return inner, self.outer(outer + F.pad(addition, (0, 0, 1, 0)))


class WordProjection(nn.Module):
    """Word projection: the concatenated words of a patch to the outer width, (B·P, W, d) -> (B·P, D).

    LayerNorm over the whole row before and over D after it; with `per_word`, over each word before it and none after.
    """

    def __init__(self, config: TNTConfig, *, per_word: bool, bias: bool) -> None:
        super().__init__()
        width, eps = config.words * config.inner_dim, config.norm_eps
        self.per_word = per_word
        self.norm = nn.LayerNorm(config.inner_dim if per_word else width, eps=eps)
        self.projection = nn.Linear(width, config.dim, bias=bias)
        self.output_norm = nn.Identity() if per_word else nn.LayerNorm(config.dim, eps=eps)

    def forward(self, inner: Tensor) -> Tensor:
        words = self.norm(inner).flatten(1) if self.per_word else self.norm(inner.flatten(1))
        return self.output_norm(self.projection(words))


class SubPatchEmbedding(nn.Module):
    """Sub-patch embedding: (B, 3, H, W) -> (B·P, W, d), words of a patch in row-major order. Three published forms."""

    def __init__(self, config: TNTConfig) -> None:
        super().__init__()
        self.form = config.sub_patch_embedding
        self.patch_size, self.sub_patch_size = config.patch_size, config.sub_patch_size
        self.projection: nn.Linear | nn.Conv2d
        if self.form == "linear":
            self.projection = nn.Linear(config.sub_patch_size**2 * 3, config.inner_dim)
        else:
            self.projection = nn.Conv2d(3, config.inner_dim, kernel_size=7, stride=config.sub_patch_size, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        if self.form == "image_convolution":
            features = self.projection(images)  # (B, d, H/s, W/s)
            return patchify(features, self.patch_size // self.sub_patch_size).flatten(0, 1).flatten(1, 2)
        patches = patchify(images, self.patch_size).flatten(0, 1).permute(0, 3, 1, 2)  # (B·P, 3, p, p)
        if self.form == "convolution":
            return self.projection(patches).flatten(2).transpose(1, 2)
        return self.projection(patchify(patches, self.sub_patch_size).flatten(2))

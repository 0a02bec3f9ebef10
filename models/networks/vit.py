"""Vision Transformer and DeiT in plain PyTorch, the reference for every faster executor."""

from typing import Literal

import torch
from torch import Tensor, nn

from ..config import ViTConfig
from .layers import EncoderBlock, initialise, patchify
from .position_embedding import PositionEmbedding


class ViT(nn.Module):
    """Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) and DeiT (Touvron et al., arXiv 2012.12877).

    `forward`: normalised float images (B, 3, H, W) -> logits (B, num_classes), or features (B, feature_dim) without a
    head.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = PatchEmbedding(config.patch_size, config.dim, bias=config.patch_bias)
        self.prefix = nn.Parameter(torch.empty(config.prefix_tokens, config.dim))  # class, distillation, registers
        self.position_embedding = PositionEmbedding(config)
        self.input_norm = nn.LayerNorm(config.dim, eps=config.norm_eps) if config.pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            EncoderBlock(
                config.dim,
                config.heads,
                config.mlp_dim,
                feedforward=config.feedforward,
                qkv_bias=config.qkv_bias,
                qk_norm=config.qk_norm,
                layer_scale=config.layer_scale,
                norm_eps=config.norm_eps,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.head = nn.Linear(config.feature_dim, config.num_classes) if config.num_classes else nn.Identity()
        if config.distillation_token:
            self.distillation_head = nn.Linear(config.dim, config.num_classes) if config.num_classes else nn.Identity()
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, classes)
        if not self.config.distillation_token:
            return self.head(self.features(images))
        tokens = self.encode(images)
        return (self.head(tokens[:, 0]) + self.distillation_head(tokens[:, 1])) / 2

    def features(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, feature_dim)
        """Embedding of the image, which the head reads; with a distillation token, the mean of both tokens."""
        tokens = self.encode(images)
        if self.config.distillation_token:
            return tokens[:, :2].mean(dim=1)
        if self.config.pooling == "token":
            return tokens[:, 0]
        pooled = tokens[:, self.config.prefix_tokens :].mean(dim=1)
        if self.config.pooling == "token_mean":
            return torch.cat([tokens[:, 0], pooled], dim=1)
        return self.norm(pooled) if self.config.norm_after_pooling else pooled

    def pooled(self, images: Tensor, pooling: Literal["cls", "mean"]) -> Tensor:  # (B, 3, H, W) -> (B, D)
        """Class token or mean of the patch tokens, after the last norm."""
        tokens, prefix = self.encode(images), self.config.prefix_tokens
        row = tokens[:, 0] if pooling == "cls" else tokens[:, prefix:].mean(dim=1)
        return self.norm(row) if self.config.norm_after_pooling else row

    def encode(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, N, D)
        """Tokens after the last block, normalised unless the norm follows pooling."""
        patches = self.patch_embedding(images)
        x = torch.cat([self.prefix.expand(len(patches), -1, -1), patches], dim=1)
        x = self.input_norm(self.position_embedding(x))
        for block in self.blocks:
            x = block(x)
        return x if self.config.norm_after_pooling else self.norm(x)


class PatchEmbedding(nn.Module):
    """Patch embedding: (B, 3, H, W) -> (B, N, D), a projection of each patch's pixels as (y, x, channel)."""

    def __init__(self, patch_size: int, dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Linear(patch_size**2 * 3, dim, bias=bias)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, N, D)
        return self.projection(patchify(images, self.patch_size).flatten(2))

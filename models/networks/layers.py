"""Layers that ViT and TNT share: encoder block, attention, feed-forward, and patch extraction."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import Feedforward


class EncoderBlock(nn.Module):
    """Encoder block, pre-norm: x + attention(norm(x)), then x + mlp(norm(x)).

    `forward`: (B, N, D) -> (B, N, D). `layer_scale` adds LayerScale (arXiv 2103.17239) to both branches.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_dim: int,
        *,
        feedforward: Feedforward = "gelu",
        qkv_bias: bool = True,
        qk_norm: bool = False,
        layer_scale: bool = False,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=norm_eps)
        self.attention = Attention(dim, heads, qkv_bias=qkv_bias, qk_norm=qk_norm, norm_eps=norm_eps)
        self.attention_scale = LayerScale(dim) if layer_scale else nn.Identity()
        self.mlp_norm = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = SwiGLU(dim, mlp_dim) if feedforward == "swiglu" else MLP(dim, mlp_dim, feedforward)
        self.mlp_scale = LayerScale(dim) if layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D) -> (B, N, D)
        x = x + self.attention_scale(self.attention(self.attention_norm(x)))
        return x + self.mlp_scale(self.mlp(self.mlp_norm(x)))


class Attention(nn.Module):
    """Multi-head self-attention with packed projections: rows of `qkv` are Q, K, V, each split into heads.

    `forward`: (B, N, D) -> (B, N, D). `qk_norm` adds a LayerNorm to each head's queries and keys (arXiv 2302.05442).
    """

    def __init__(self, dim: int, heads: int, *, qkv_bias: bool, qk_norm: bool = False, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.query_norm = nn.LayerNorm(dim // heads, eps=norm_eps) if qk_norm else nn.Identity()
        self.key_norm = nn.LayerNorm(dim // heads, eps=norm_eps) if qk_norm else nn.Identity()
        self.projection = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D) -> (B, N, D)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, N, 3, h, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, h, N, d)
        mixed = F.scaled_dot_product_attention(self.query_norm(q), self.key_norm(k), v)
        return self.projection(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """MLP: linear, activation, linear. `gelu` is the exact, erf-based one; `quick_gelu` is CLIP's approximation."""

    def __init__(self, dim: int, hidden_dim: int, activation: Feedforward = "gelu") -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden_dim)
        self.activation = nn.GELU() if activation == "gelu" else QuickGELU()
        self.contract = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(self.activation(self.expand(x)))


class SwiGLU(nn.Module):
    """SwiGLU feed-forward (arXiv 2002.05202; DINOv2 giant): contract(silu(gate) · value), both from one product.

    Args:
        mlp_dim: width of gate and value together.
    """

    def __init__(self, dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, mlp_dim)
        self.contract = nn.Linear(mlp_dim // 2, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.expand(x).chunk(2, dim=-1)
        return self.contract(F.silu(gate) * value)


class QuickGELU(nn.Module):
    """QuickGELU activation of CLIP: x·sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class LayerScale(nn.Module):
    """LayerScale: a learned factor per channel on a residual branch (arXiv 2103.17239)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def patchify(images: Tensor, size: int) -> Tensor:
    """Patches of images: (B, C, H, W) -> (B, N, size, size, C), row-major, pixels of a patch as (y, x, channel)."""
    x = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, rows, size, columns, size)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(1, 2)


def initialise(network: nn.Module) -> None:
    """Initialise as ViT, DeiT and TNT do: weights and tables truncated normal (deviation 0.02), biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for _, table in network.named_parameters(recurse=False):
        nn.init.trunc_normal_(table, std=0.02)

"""Attention maps from attention weights: the class token's row, attention rollout, mean attention distance."""

import torch
from torch import Tensor

from ..networks.layers import Attention

RESIDUAL = 0.5
"""Share of the residual connection in attention rollout."""


def attention_weights(attention: Attention, x: Tensor) -> Tensor:
    """Attention weights of a module for its input `x`: (B, N, D) -> (B, heads, N, N); every row sums to one."""
    qkv = attention.qkv(x).unflatten(-1, (3, attention.heads, -1))  # (B, N, 3, h, d)
    q, k, _ = qkv.permute(2, 0, 3, 1, 4)  # each (B, h, N, d)
    q, k = attention.query_norm(q), attention.key_norm(k)
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)


def pooled_attention(weights: Tensor, prefix: int, *, mean: bool) -> Tensor:
    """Attention of the head's input to each patch: (…, N, N) -> (…, patches).

    The class token's row or, with `mean`, the mean over all patches' rows. Weights on the `prefix` tokens are dropped,
    so a row sums to less than one.
    """
    row = weights[..., prefix:, :].mean(dim=-2) if mean else weights[..., 0, :]
    return row[..., prefix:]


def head_mean(weights: Tensor) -> Tensor:
    """Mean over heads: (B, heads, N, N) -> (B, N, N), in float32 or wider."""
    return weights.mean(dim=1, dtype=torch.promote_types(weights.dtype, torch.float32))


class Rollout:
    """Attention rollout: the share of each input token in each token, layer by layer.

    Call with each layer's weights (B, heads, N, N) in order; returns (B, N, N), every row sums to one. Heads are
    averaged, and the residual connection counts half. Source: Abnar and Zuidema, "Quantifying attention flow in
    transformers" (arXiv 2005.00928).
    """

    def __init__(self) -> None:
        self._flow: Tensor | None = None

    def __call__(self, weights: Tensor) -> Tensor:
        mixed = (1 - RESIDUAL) * head_mean(weights)
        mixed.diagonal(dim1=-2, dim2=-1).add_(RESIDUAL)
        self._flow = mixed if self._flow is None else mixed @ self._flow
        return self._flow


def patch_centres(grid: int, spacing: int) -> Tensor:
    """Patch centres in pixels, row-major: float64 (grid², 2), as (y, x)."""
    ticks = (torch.arange(grid, dtype=torch.float64) + 0.5) * spacing
    return torch.cartesian_prod(ticks, ticks)


def mean_distance(weights: Tensor, grid: int, spacing: int, prefix: int = 0) -> Tensor:
    """Mean attention distance in pixels: (…, N, N) -> (…).

    The distance between the centres of query and key patch, weighted by the attention among patches, averaged over all
    queries. Prefix tokens have no position and are left out. Source: Dosovitskiy et al. (arXiv 2010.11929), figure 7.
    """
    centres = patch_centres(grid, spacing).to(weights)
    among = weights[..., prefix:, prefix:]
    share = among / among.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    return (share * torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")).sum(dim=-1).mean(dim=-1)


def uniform_distance(grid: int, spacing: int) -> float:
    """Mean attention distance, in pixels, of uniform attention."""
    return float(mean_distance(torch.full((grid**2, grid**2), 1.0, dtype=torch.float64), grid, spacing))

"""From attention weights to what people look at: the class token's row, rollout, distances. Knows no network."""

import torch
from torch import Tensor

from ..networks.layers import Attention

RESIDUAL = 0.5


def attention_weights(attention: Attention, x: Tensor) -> Tensor:
    """What each query gives to each key: (B, N, D) -> (B, heads, N, N); every row sums to one.

    `x` is what the module reads. Its output is these weights times the values, projected.
    """
    qkv = attention.qkv(x).unflatten(-1, (3, attention.heads, -1))  # (B, N, 3, h, d)
    q, k, _ = qkv.permute(2, 0, 3, 1, 4)  # each (B, h, N, d)
    q, k = attention.query_norm(q), attention.key_norm(k)
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)


def read_out(weights: Tensor, prefix: int, *, mean: bool) -> Tensor:
    """The weights on patches of what the head reads: (…, N, N) -> (…, patches).

    The class token's row, or the mean over all patches' rows where the head reads their mean. What goes to the class
    token and others of the `prefix` is left out, so a row sums to less than one.
    """
    row = weights[..., prefix:, :].mean(dim=-2) if mean else weights[..., 0, :]
    return row[..., prefix:]


def head_mean(weights: Tensor) -> Tensor:
    """(B, heads, N, N) -> (B, N, N), in float32 at least."""
    return weights.mean(dim=1, dtype=torch.promote_types(weights.dtype, torch.float32))


class Rollout:
    """How much of each input token has arrived in each token, layer by layer.

    Called with each layer's weights (B, heads, N, N) in turn, it gives (B, N, N); every row sums to one. Heads are
    averaged, and half of a token stays as it is: the residual. Source: Abnar and Zuidema, "Quantifying attention flow
    in transformers" (arXiv 2005.00928).
    """

    def __init__(self) -> None:
        self._flow: Tensor | None = None

    def __call__(self, weights: Tensor) -> Tensor:
        mixed = (1 - RESIDUAL) * head_mean(weights)
        mixed.diagonal(dim1=-2, dim2=-1).add_(RESIDUAL)
        self._flow = mixed if self._flow is None else mixed @ self._flow
        return self._flow


def places(grid: int, spacing: int) -> Tensor:
    """Centres of patches in pixels, row-major: (grid², 2), float64, as (y, x)."""
    ticks = (torch.arange(grid, dtype=torch.float64) + 0.5) * spacing
    return torch.cartesian_prod(ticks, ticks)


def mean_distance(weights: Tensor, grid: int, spacing: int, prefix: int = 0) -> Tensor:
    """How far, in pixels, queries look: (…, N, N) -> (…), the mean over all patches as queries.

    The distance between the centres of query and key, weighted by what the query gives to patches; what it gives to
    tokens of the prefix has no place. Source: Dosovitskiy et al. (arXiv 2010.11929), figure 7, right.
    """
    centres = places(grid, spacing).to(weights)
    among = weights[..., prefix:, prefix:]
    share = among / among.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    return (share * torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")).sum(dim=-1).mean(dim=-1)


def uniform_distance(grid: int, spacing: int) -> float:
    """The mean distance, in pixels, of attention that looks everywhere alike."""
    return float(mean_distance(torch.full((grid**2, grid**2), 1.0, dtype=torch.float64), grid, spacing))

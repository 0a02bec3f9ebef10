"""The meaning of TNT's operators in plain PyTorch; names as in reference.py, besides: W words of d channels a patch.

L inner blocks, P patches an image, M patches in all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import reference
from .tnt_weights import InnerWeights, WordWeights
from .weights import NormWeights


def word_embed(pixels: Tensor, weights: WordWeights) -> Tensor:
    """The words of each patch, side by side: (B, H, W, 3) -> (B, P, W · d)."""
    size, margin, window = weights.patch_size, weights.margin, weights.window
    if window == size:
        return reference.patch_embed(pixels, weights.weight, weights.table, size, 0)
    beyond = max(0, window - margin - size)
    images = F.pad(pixels.permute(0, 3, 1, 2).to(weights.weight.dtype), (margin, beyond, margin, beyond))
    kernel = weights.weight.unflatten(1, (window, window, 3)).permute(0, 3, 1, 2)
    rows = F.conv2d(images, kernel, stride=size).flatten(2).transpose(1, 2)
    return (rows.to(weights.table.dtype) + weights.table).to(rows.dtype)


def tnt_inner(words: Tensor, weights: InnerWeights) -> Tensor:
    """Every block's words, normalised and ready to be projected: (M, W · d) -> (1 + L, M, W · d), the input first."""
    x = words.unflatten(1, (-1, weights.dim))  # (M, W, d)
    rows = [standardise(words, weights.eps)]
    for index in range(weights.depth):
        x = inner_block(x, weights, index)
        rows.append(outgoing(x, weights))
    return torch.stack(rows)


def outgoing(x: Tensor, weights: InnerWeights) -> Tensor:
    """What a block's projection reads of its words: (M, W, d) -> (M, W · d)."""
    return standardise(x, weights.eps).flatten(1) if weights.per_word else standardise(x.flatten(1), weights.eps)


def inner_block(x: Tensor, weights: InnerWeights, index: int) -> Tensor:
    """x + attention(norm(x)), then x + mlp(norm(x)): (M, W, d) -> (M, W, d)."""
    query, key, value = F.linear(standardise(x, weights.eps), weights.qkv[index]).chunk(3, dim=-1)
    mixed = mix(query + weights.query_bias[index].to(x.dtype), key, value, weights.heads)
    x = x + _linear(mixed, weights.projection, weights.projection_bias, index)
    hidden = F.gelu(_linear(standardise(x, weights.eps), weights.expand, weights.expand_bias, index))
    return x + _linear(hidden, weights.contract, weights.contract_bias, index)


def _linear(x: Tensor, weight: Tensor, bias: Tensor, index: int) -> Tensor:
    return F.linear(x, weight[index], bias[index].to(x.dtype))


def mix(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention of each patch's words, heads side by side: each (M, W, d) -> (M, W, d)."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2)


def standardise(x: Tensor, eps: float) -> Tensor:
    """LayerNorm over the last dimension without weight and bias."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def project_words(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A product of its own for each block's rows: (G, M, K), (G, D, K), (G, D) -> (G, M, D)."""
    return torch.baddbmm(bias.to(rows.dtype)[:, None], rows, weight.transpose(1, 2))


def add_words(x: Tensor, rows: Tensor, norm: NormWeights | None) -> Tensor:
    """Patch tokens plus what comes of their words, normalised where a norm is given; tokens before them as they are.

    Args:
        x: (B, N, D), or a table (N, D) for every image.
        rows: (B, P, D), for the last P tokens.

    Returns:
        (B, N, D) in the dtype of `rows`.
    """
    if norm is not None:
        rows = reference.layer_norm(rows, norm.weight, norm.bias, norm.eps)
    prefix = x.shape[-2] - rows.shape[1]
    before = x[..., :prefix, :].to(rows.dtype).expand(rows.shape[0], -1, -1)
    return torch.cat([before, (x[..., prefix:, :] + rows).to(rows.dtype)], dim=1)

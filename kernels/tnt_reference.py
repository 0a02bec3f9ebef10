"""The meaning of TNT's operators in plain PyTorch; names as in reference.py, besides: W words of d channels a patch.

L inner blocks, P patches an image, M patches in all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import reference
from .weights import AbsorbedAttention, InnerEmbedWeights, InnerWeights, NormWeights


def tnt_embed(pixels: Tensor, weights: InnerEmbedWeights) -> Tensor:
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
    return standardise(x, weights.eps).flatten(1) if weights.per_token else standardise(x.flatten(1), weights.eps)


def inner_block(x: Tensor, weights: InnerWeights, index: int) -> Tensor:
    """x + attention(norm(x)), then x + mlp(norm(x)): (M, W, d) -> (M, W, d)."""
    x = x + attend(standardise(x, weights.eps), weights, index)
    hidden = F.gelu(_linear(standardise(x, weights.eps), weights.expand, weights.expand_bias, index))
    return x + _linear(hidden, weights.contract, weights.contract_bias, index)


def _linear(x: Tensor, weight: Tensor, bias: Tensor, index: int) -> Tensor:
    return F.linear(x, weight[index], bias[index].to(x.dtype))


def attend(y: Tensor, weights: InnerWeights, index: int) -> Tensor:
    """A block's attention over normalised words, projected: (M, W, d) -> (M, W, d)."""
    if weights.absorbed is not None:
        return _attend_absorbed(y, weights, weights.absorbed, index)
    query, key, value = F.linear(y, weights.qkv[index]).chunk(3, dim=-1)
    mixed = mix(query + weights.query_bias[index].to(y.dtype), key, value, weights.heads)
    return _linear(mixed, weights.projection, weights.projection_bias, index)


def _attend_absorbed(y: Tensor, weights: InnerWeights, absorbed: AbsorbedAttention, index: int) -> Tensor:
    queries = _linear(y, absorbed.query, absorbed.query_bias, index).unflatten(2, (weights.heads, -1)).flatten(1, 2)
    scores = torch.matmul(queries, y.transpose(1, 2)).softmax(dim=-1)  # (M, W · h, W)
    mixed = torch.matmul(scores, y).unflatten(1, (-1, weights.heads)).flatten(2)  # (M, W, h · d)
    return _linear(mixed, absorbed.output, weights.projection_bias, index)


def mix(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention of each patch's words, heads side by side: each (M, W, d) -> (M, W, d)."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2)


def standardise(x: Tensor, eps: float) -> Tensor:
    """LayerNorm over the last dimension without weight and bias."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def tnt_project(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A product of its own for each block's rows: (G, M, K), (G, D, K), (G, D) -> (G, M, D)."""
    return torch.stack([_linear(rows[index], weight, bias, index) for index in range(len(rows))])


def tnt_add(x: Tensor, rows: Tensor, norm: NormWeights | None) -> Tensor:
    """Patch tokens plus what comes of their words, normalised where a norm is given; tokens before them as they are.

    Args:
        x: (B, N, D), or a table (N, D) for every image.
        rows: (B, P, D), for the last P tokens.

    Returns:
        (B, N, D) in the dtype of `rows`.
    """
    if norm is not None:
        rows = reference.layer_norm(rows, norm.weight, norm.bias, norm.eps)
    return (x + F.pad(rows, (0, 0, x.shape[-2] - rows.shape[1], 0))).to(rows.dtype)

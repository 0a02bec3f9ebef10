"""Reference implementation of TNT's operators in plain PyTorch: the kernels' specification, and what CPUs run.

Dimension names as in reference.py; in addition W inner tokens of d channels per patch, L inner blocks, P patches per
image, M patches in total.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import reference
from .weights import AbsorbedAttention, InnerEmbedWeights, InnerWeights, NormWeights


def tnt_embed(pixels: Tensor, weights: InnerEmbedWeights) -> Tensor:
    """Inner tokens of each patch, side by side: (B, H, W, 3) -> (B, P, W · d)."""
    size, margin, window = weights.patch_size, weights.margin, weights.window
    if window == size:
        return reference.patch_embed(pixels, weights.weight, weights.table, size, 0)
    beyond = max(0, window - margin - size)
    images = F.pad(pixels.permute(0, 3, 1, 2).to(weights.weight.dtype), (margin, beyond, margin, beyond))
    kernel = weights.weight.unflatten(1, (window, window, 3)).permute(0, 3, 1, 2)
    rows = F.conv2d(images, kernel, stride=size).flatten(2).transpose(1, 2)
    return (rows.to(weights.table.dtype) + weights.table).to(rows.dtype)


def tnt_inner(x: Tensor, weights: InnerWeights) -> Tensor:
    """Inputs of all projections, standardised: (M, W · d) -> (1 + L, M, W · d), that of x first."""
    y = x.unflatten(1, (-1, weights.dim))  # (M, W, d)
    rows = [standardise(x, weights.eps)]
    for index in range(weights.depth):
        y = inner_block(y, weights, index)
        rows.append(projection_input(y, weights))
    return torch.stack(rows)


def projection_input(x: Tensor, weights: InnerWeights) -> Tensor:
    """Input of the projection after a block, standardised: (M, W, d) -> (M, W · d)."""
    return standardise(x, weights.eps).flatten(1) if weights.per_token else standardise(x.flatten(1), weights.eps)


def inner_block(x: Tensor, weights: InnerWeights, index: int) -> Tensor:
    """Inner block `index`: x + attention(norm(x)), then x + mlp(norm(x)): (M, W, d) -> (M, W, d)."""
    x = x + inner_attention(standardise(x, weights.eps), weights, index)
    hidden = F.gelu(_linear(standardise(x, weights.eps), weights.expand, weights.expand_bias, index))
    return x + _linear(hidden, weights.contract, weights.contract_bias, index)


def _linear(x: Tensor, weight: Tensor, bias: Tensor, index: int) -> Tensor:
    return F.linear(x, weight[index], bias[index].to(x.dtype))


def inner_attention(y: Tensor, weights: InnerWeights, index: int) -> Tensor:
    """Attention of block `index` over standardised inner tokens, with its projection: (M, W, d) -> (M, W, d)."""
    if weights.absorbed is not None:
        return _absorbed_attention(y, weights, weights.absorbed, index)
    query, key, value = F.linear(y, weights.qkv[index]).chunk(3, dim=-1)
    output = multi_head_attention(query + weights.query_bias[index].to(y.dtype), key, value, weights.heads)
    return _linear(output, weights.projection, weights.projection_bias, index)


def _absorbed_attention(y: Tensor, weights: InnerWeights, absorbed: AbsorbedAttention, index: int) -> Tensor:
    queries = _linear(y, absorbed.query, absorbed.query_bias, index).unflatten(2, (weights.heads, -1)).flatten(1, 2)
    scores = torch.matmul(queries, y.transpose(1, 2)).softmax(dim=-1)  # (M, W · h, W)
    output = torch.matmul(scores, y).unflatten(1, (-1, weights.heads)).flatten(2)  # (M, W, h · d)
    return _linear(output, absorbed.output, weights.projection_bias, index)


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Multi-head softmax attention without scale, heads side by side: each (M, W, d) -> (M, W, d)."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2)


def standardise(x: Tensor, eps: float) -> Tensor:
    """LayerNorm over the last dimension without weight and bias."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def tnt_project(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Linear layer of each group: (G, M, W · d), (G, D, W · d), (G, D) -> (G, M, D)."""
    return torch.stack([_linear(rows[index], weight, bias, index) for index in range(len(rows))])


def tnt_add(x: Tensor, rows: Tensor, norm: NormWeights | None) -> Tensor:
    """Patch tokens plus projected inner tokens, through a LayerNorm where there is one; prefix tokens stay.

    Args:
        x: (B, N, D), or a table (N, D) for every image.
        rows: (B, P, D), for the last P tokens.

    Returns:
        (B, N, D) in the dtype of `rows`.
    """
    if norm is not None:
        rows = reference.layer_norm(rows, norm.weight, norm.bias, norm.eps)
    return (x + F.pad(rows, (0, 0, x.shape[-2] - rows.shape[1], 0))).to(rows.dtype)

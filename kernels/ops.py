"""The operators of a folded Vision Transformer: checks, the choice of implementation, results. Arithmetic is elsewhere.

Each has its plain meaning in reference.py and a Triton kernel in a file of its own, registered in library.py. Every one
takes `options` (Options) and `name`, under which its result lies in the options' workspace.
Names and row statistics are as in reference.py.
"""

import torch
from torch import Tensor

from . import checks, custom_ops, reference
from .options import DEFAULT, Options
from .tuning import heuristics
from .weights import LinearWeights, NormWeights, PatchWeights

Tokens = tuple[Tensor, Tensor | None]
"""Values and, where they were asked for, their row statistics."""


def patch_embed(
    pixels: Tensor,
    weights: PatchWeights,
    *,
    return_statistics: bool = False,
    options: Options = DEFAULT,
    name: str = "embedded",
) -> Tokens:
    """Images to tokens: cuts, projects, adds the table and puts the prefix tokens in front, in one launch.

    Args:
        pixels: uint8 (B, H, W, 3) for folded weights; already normalised pixels of the weight's dtype otherwise.
        weights: with `weight` (D, patch² · 3) and `table` (N, D).
        return_statistics: also the row statistics of the result.

    Returns:
        (B, N, D) in the weight's dtype, and row statistics (parts, 2, B · N) or None.

    Source: Dosovitskiy et al., arXiv 2010.11929, equation 1.
    """
    batch, height, width, _ = pixels.shape if pixels.ndim == 4 else (0, 0, 0, 0)
    checks.shape("pixels", pixels, "B", "H", "W", 3)
    checks.dtype("pixels", pixels, torch.uint8, weights.weight.dtype)
    checks.divides("patch_size", weights.patch_size, "the image's height", height)
    checks.divides("patch_size", weights.patch_size, "the image's width", width)
    tokens = weights.prefix + (height // weights.patch_size) * (width // weights.patch_size)
    checks.shape("weight", weights.weight, "D", weights.patch_size**2 * 3)
    dim = len(weights.weight)
    checks.shape("table", weights.table, tokens, dim)
    if not options.uses_triton(pixels) or pixels.dtype != torch.uint8:
        x = reference.patch_embed(pixels, weights.weight, weights.table, weights.patch_size, weights.prefix)
        return x, _reference_statistics(x, return_statistics)
    config = heuristics.patch_embed(batch * tokens, dim, weights.weight.dtype, pixels.device, options.batch_invariant)
    out = options.empty(name, (batch, tokens, dim), weights.weight.dtype, pixels.device)
    out_statistics = options.statistics_buffer(
        return_statistics, name, batch * tokens, dim, config.block_n, pixels.device
    )
    custom_ops.patch_embed(
        pixels,
        weights.weight,
        weights.table,
        weights.patch_size,
        weights.prefix,
        out,
        out_statistics,
        options.batch_invariant,
    )
    return out, out_statistics


def linear(
    x: Tensor,
    weights: LinearWeights,
    *,
    row_statistics: Tensor | None = None,
    activation: str = "none",
    residual: Tensor | None = None,
    return_statistics: bool = False,
    options: Options = DEFAULT,
    name: str = "linear",
) -> Tokens:
    """activation(LayerNorm(x) · weightᵀ + bias) · scale + residual, each part where the weights or arguments have it.

    Args:
        x: (M, K), rows of any stride.
        weights: of (O, K). With `sums` the LayerNorm is folded and `row_statistics` of x, (parts, 2, M), stand for it.
        activation: `none`, `gelu` (exact, by erf), `quick_gelu`, or `swiglu`, which makes one channel of two.
        residual: (M, O), added last.
        return_statistics: also the row statistics of the result.

    Returns:
        (M, O) in x's dtype ((M, O / 2) for swiglu), and row statistics (parts, 2, M) or None.

    Source for the folded LayerNorm: FlashNorm, arXiv 2407.09577; the column-sum form is ours.
    """
    checks.shape("x", x, "M", "K")
    checks.dtype("x", x, *checks.FLOATS)
    checks.shape("weight", weights.weight, "O", x.shape[1])
    checks.same("weight", weights.weight, "x", x)
    checks.activation(activation, len(weights.weight))
    rows, out_dim = len(x), len(weights.weight) // (2 if activation == "swiglu" else 1)
    if residual is not None:
        checks.shape("residual", residual, rows, out_dim)
        checks.same("residual", residual, "x", x)
    if weights.norm is not None:
        x = layer_norm(x, weights.norm, options=options, name=f"{name}.norm")[0]
    if weights.sums is not None and row_statistics is None:
        row_statistics = compute_row_statistics(x, options=options, name=f"{name}.row_statistics")
    if row_statistics is not None:
        checks.shape("row_statistics", row_statistics, "parts", 2, rows)
    if weights.scale is not None:
        y = linear(x, _bare(weights), row_statistics=row_statistics, activation=activation, options=options, name=name)[
            0
        ]
        y = (y * weights.scale).to(x.dtype)
        y = y if residual is None else y + residual
        return y, compute_row_statistics(y, options=options, name=f"{name}.statistics") if return_statistics else None
    if not options.uses_triton(x):
        y = reference.linear(
            x,
            weights.weight,
            weights.bias,
            sums=weights.sums,
            statistics=row_statistics,
            eps=weights.eps,
            activation=activation,
            residual=residual,
        )
        return y, _reference_statistics(y, return_statistics)
    config = heuristics.linear(
        rows, len(weights.weight), x.shape[1], x.dtype, x.device, options.batch_invariant, activation
    )
    out = options.empty(name, (rows, out_dim), x.dtype, x.device)
    block = config.block_n // (2 if activation == "swiglu" else 1)
    out_statistics = options.statistics_buffer(return_statistics, name, rows, out_dim, block, x.device)
    custom_ops.linear(
        x,
        weights.weight,
        weights.bias,
        weights.sums,
        row_statistics if weights.sums is not None else None,
        weights.eps,
        activation,
        residual,
        out,
        out_statistics,
        *options.partials(name, config, rows, len(weights.weight), x.device),
        options.batch_invariant,
    )
    return out, out_statistics


def grouped_linear(x: Tensor, weight: Tensor, *, options: Options = DEFAULT, name: str = "grouped") -> Tensor:
    """A product of its own for each group, as heads need: x (M, G, K), weight (G, O, K) -> (M, G, O)."""
    checks.shape("x", x, "M", "G", "K")
    checks.dtype("x", x, *checks.FLOATS)
    checks.shape("weight", weight, x.shape[1], "O", x.shape[2])
    checks.same("weight", weight, "x", x)
    if not options.uses_triton(x):
        return reference.grouped_linear(x, weight)
    out = options.empty(name, (len(x), x.shape[1], weight.shape[1]), x.dtype, x.device)
    custom_ops.grouped_linear(x, weight, out)
    return out


def attention(
    qkv: Tensor,
    heads: int,
    query_norm: NormWeights | None = None,
    key_norm: NormWeights | None = None,
    *,
    options: Options = DEFAULT,
    name: str = "attention",
) -> Tensor:
    """Softmax attention of all tokens over packed projections, with a LayerNorm on each query and key where given.

    Args:
        qkv: (B, N, 3 · h · d), channels as (Q, K, V), each as (head, channel); heads of any width d.
        query_norm, key_norm: of d channels; both or none.

    Returns:
        (B, N, h · d) in qkv's dtype, ready for the projection.

    Source: Vaswani et al., arXiv 1706.03762; QK-norm: Dehghani et al., arXiv 2302.05442.
    """
    checks.shape("qkv", qkv, "B", "N", "3hd")
    checks.dtype("qkv", qkv, *checks.FLOATS)
    checks.divides("3 · heads", 3 * heads, "the channels of qkv", qkv.shape[2])
    if (query_norm is None) != (key_norm is None):
        raise ValueError("query_norm and key_norm come together: give both or none")
    if not options.uses_triton(qkv):
        return reference.attention(qkv, heads, query_norm, key_norm)
    out = options.empty(name, (*qkv.shape[:2], qkv.shape[2] // 3), qkv.dtype, qkv.device)
    custom_ops.attention(
        qkv,
        heads,
        query_norm and query_norm.weight,
        query_norm and query_norm.bias,
        key_norm and key_norm.weight,
        key_norm and key_norm.bias,
        query_norm.eps if query_norm else 0.0,
        key_norm.eps if key_norm else 0.0,
        out,
    )
    return out


def class_attention(
    queries: Tensor,
    x: Tensor,
    row_statistics: Tensor | None,
    *,
    eps: float,
    scale: float,
    options: Options = DEFAULT,
    name: str = "class_attention",
) -> Tensor:
    """The last block's attention: absorbed queries over tokens that are keys and values alike.

    Args:
        queries: (B, Q, D): class (and distillation) queries, one per head, each through its head's key projection.
        x: (B, N, D): normalised tokens, or raw tokens with their row statistics (parts, 2, B · N).
        eps: of the norm that the row statistics stand for.
        scale: on the scores, 1 / sqrt(head width).

    Returns:
        (B, Q, D) in x's dtype: each query's mixture of normalised tokens.
    """
    checks.shape("x", x, "B", "N", "D")
    checks.dtype("x", x, *checks.FLOATS)
    checks.shape("queries", queries, len(x), "Q", x.shape[2])
    checks.same("queries", queries, "x", x)
    if row_statistics is not None:
        checks.shape("row_statistics", row_statistics, "parts", 2, x.shape[0] * x.shape[1])
    if not options.uses_triton(x):
        return reference.class_attention(queries, x, row_statistics, eps, scale)
    scores = options.empty(f"{name}.scores", (*queries.shape[:2], x.shape[1]), torch.float32, x.device)
    out = options.empty(name, tuple(queries.shape), x.dtype, x.device)
    custom_ops.class_attention(queries, x, row_statistics, eps, scale, scores, out)
    return out


def layer_norm(
    x: Tensor, norm: NormWeights, *, return_statistics: bool = False, options: Options = DEFAULT, name: str = "normed"
) -> Tokens:
    """LayerNorm over the last dimension (Ba et al., arXiv 1607.06450): (M, D) -> (M, D), and its row statistics if
    asked.
    """
    checks.shape("x", x, "M", "D")
    checks.dtype("x", x, *checks.FLOATS)
    checks.shape("weight", norm.weight, x.shape[1])
    if not options.uses_triton(x):
        y = reference.layer_norm(x, norm.weight, norm.bias, norm.eps)
        return y, _reference_statistics(y, return_statistics)
    out = options.empty(name, tuple(x.shape), x.dtype, x.device)
    out_statistics = options.statistics_buffer(return_statistics, name, len(x), x.shape[1], x.shape[1], x.device)
    custom_ops.layer_norm(x, norm.weight, norm.bias, norm.eps, out, out_statistics)
    return out, out_statistics


def compute_row_statistics(x: Tensor, *, options: Options = DEFAULT, name: str = "statistics") -> Tensor:
    """Row statistics: (M, D) -> float32 (1, 2, M), float64 of float64."""
    checks.shape("x", x, "M", "D")
    checks.dtype("x", x, *checks.FLOATS)
    if not options.uses_triton(x):
        return reference.row_statistics(x)
    out = options.empty(name, (1, 2, len(x)), torch.float32, x.device)
    custom_ops.layer_norm(x, None, None, 0.0, None, out)
    return out


def mean_pool(
    x: Tensor,
    prefix: int,
    row_statistics: Tensor | None = None,
    *,
    eps: float = 0.0,
    options: Options = DEFAULT,
    name: str = "pooled",
) -> Tensor:
    """The mean of the tokens after the first `prefix`, normalised one by one where statistics are given: (B, N, D)
    -> (B, D).
    """
    checks.shape("x", x, "B", "N", "D")
    checks.dtype("x", x, *checks.FLOATS)
    if not 0 <= prefix < x.shape[1]:
        raise ValueError(f"prefix ({prefix}) must leave some of the {x.shape[1]} tokens")
    if not options.uses_triton(x):
        return reference.mean_pool(x, prefix, row_statistics, eps)
    out = options.empty(name, (len(x), x.shape[2]), x.dtype, x.device)
    custom_ops.mean_pool(x, prefix, row_statistics, eps, out)
    return out


def _bare(weights: LinearWeights) -> LinearWeights:
    return LinearWeights(weights.weight, weights.bias, sums=weights.sums, eps=weights.eps)


def _reference_statistics(x: Tensor, return_statistics: bool) -> Tensor | None:
    return reference.row_statistics(x.flatten(0, -2)) if return_statistics else None

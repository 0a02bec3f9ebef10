"""Operators of a folded Vision Transformer: argument checks, choice of implementation, output buffers.

Each is defined by plain PyTorch in reference.py and has a Triton kernel in `triton/`, registered in custom_ops.py. All
take `options` (Options) and `name`, the key of their result in the options' workspace, and raise ValueError where a
shape, dtype, device or value is not supported. Dimension names and row statistics are those of reference.py.
"""

import torch
from torch import Tensor

from . import checks, custom_ops, reference
from .options import DEFAULT, Options
from .tuning import heuristics
from .weights import LinearWeights, NormWeights, PatchWeights

Tokens = tuple[Tensor, Tensor | None]
"""An operator's output and, with `return_statistics`, its row statistics."""


def patch_embed(
    pixels: Tensor,
    weights: PatchWeights,
    *,
    return_statistics: bool = False,
    options: Options = DEFAULT,
    name: str = "patch_embed",
) -> Tokens:
    """Patch embedding: project patches, add the position table and prepend the prefix tokens, in one launch.

    Args:
        pixels: uint8 (B, H, W, 3) for folded weights; normalised pixels of the weight's dtype otherwise.
        weights: with `weight` (D, patch² · 3) and `table` (N, D).
        return_statistics: also return the row statistics of the result.

    Returns:
        (B, N, D) in the weight's dtype, and row statistics (parts, 2, B · N) or None.

    Source: Dosovitskiy et al., arXiv 2010.11929, equation 1.
    """
    tokens, dim = weights.prefix + checks.patches(pixels, weights.weight, weights.patch_size), len(weights.weight)
    checks.shape("weight", weights.weight, "D", weights.patch_size**2 * 3)
    checks.shape("table", weights.table, tokens, dim)
    if not options.uses_triton(pixels) or pixels.dtype != torch.uint8:
        x = reference.patch_embed(pixels, weights.weight, weights.table, weights.patch_size, weights.prefix)
        return x, _reference_statistics(x, return_statistics)
    batch = len(pixels)
    config = heuristics.patch_embed(batch * tokens, dim, weights.weight.dtype, pixels.device, options.batch_invariant)
    out = options.empty(name, (batch, tokens, dim), weights.weight.dtype, pixels.device)
    out_statistics = options.statistics_buffer(return_statistics, name, out, config.block_n)
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
    """Linear layer with epilogue: activation(LayerNorm(x) · weightᵀ + bias) · scale + residual.

    LayerNorm, bias and scale are applied where the weights have them.

    Args:
        x: (M, K), rows of any stride.
        weights: of (O, K). With `sums` the LayerNorm is folded, and `row_statistics` are needed.
        row_statistics: of x, (parts, 2, M); computed here by default.
        activation: `none`, `gelu` (exact, by erf), `quick_gelu`, or `swiglu`, which reduces two channels to one.
        residual: (M, O), added last.
        return_statistics: also return the row statistics of the result.

    Returns:
        (M, O) in x's dtype ((M, O / 2) for swiglu), and row statistics (parts, 2, M) or None.

    Source of the folded LayerNorm: FlashNorm, arXiv 2407.09577; the form with row sums of the weight is ours.
    """
    checks.shape("x", x, "M", "K")
    checks.dtype("x", x, *checks.FLOATS)
    checks.shape("weight", weights.weight, "O", x.shape[1])
    checks.same("weight", weights.weight, "x", x)
    checks.activation(activation, len(weights.weight))
    (rows, depth), columns = x.shape, len(weights.weight)
    out_dim = columns // 2 if activation == "swiglu" else columns
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
        bare = LinearWeights(weights.weight, weights.bias, sums=weights.sums, eps=weights.eps)
        y, _ = linear(x, bare, row_statistics=row_statistics, activation=activation, options=options, name=name)
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
    config = heuristics.linear(rows, columns, depth, x.dtype, x.device, options.batch_invariant, activation)
    out = options.empty(name, (rows, out_dim), x.dtype, x.device)
    out_statistics = options.statistics_buffer(return_statistics, name, out, config.block_n * out_dim // columns)
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
        *options.split_k_buffers(name, config, rows, columns, x.device),
        options.batch_invariant,
    )
    return out, out_statistics


def grouped_linear(x: Tensor, weight: Tensor, *, options: Options = DEFAULT, name: str = "grouped_linear") -> Tensor:
    """Grouped linear layer, one weight per group: x (M, G, K), weight (G, O, K) -> (M, G, O) in x's dtype."""
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
    """Multi-head softmax attention over packed Q, K and V, with optional QK-norm.

    Args:
        qkv: (B, N, 3 · h · d), channels as (Q, K, V), each as (head, channel); any head width d.
        heads: h.
        query_norm, key_norm: LayerNorms of d channels on each query and key; both or none.

    Returns:
        (B, N, h · d) in qkv's dtype, input of the output projection.

    Source: Vaswani et al., arXiv 1706.03762; QK-norm: Dehghani et al., arXiv 2302.05442.
    """
    checks.shape("qkv", qkv, "B", "N", "3hd")
    checks.dtype("qkv", qkv, *checks.FLOATS)
    checks.divides("3 · heads", 3 * heads, "the channels of qkv", qkv.shape[2])
    if (query_norm is None) != (key_norm is None):
        raise ValueError("query_norm and key_norm come together: pass both or none")
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
    """Class attention of the last block: absorbed queries over normalised tokens, which serve as keys and as values.

    Args:
        queries: (B, Q, D): class (and distillation) queries, one per head, multiplied by the head's key projection.
        x: (B, N, D): normalised tokens, or raw tokens with row statistics.
        row_statistics: of x, (parts, 2, B · N), or None where x is normalised.
        eps: of the LayerNorm that the row statistics are for.
        scale: on the scores, 1 / sqrt(head width).

    Returns:
        (B, Q, D) in x's dtype: attention-weighted sums of normalised tokens, before each head's value projection.
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
    x: Tensor,
    norm: NormWeights,
    *,
    return_statistics: bool = False,
    options: Options = DEFAULT,
    name: str = "layer_norm",
) -> Tokens:
    """LayerNorm over the last dimension: (M, D) -> (M, D), and the result's row statistics (1, 2, M) or None.

    Source: Ba et al., arXiv 1607.06450.
    """
    checks.shape("x", x, "M", "D")
    checks.dtype("x", x, *checks.FLOATS)
    checks.shape("weight", norm.weight, x.shape[1])
    if not options.uses_triton(x):
        y = reference.layer_norm(x, norm.weight, norm.bias, norm.eps)
        return y, _reference_statistics(y, return_statistics)
    out = options.empty(name, tuple(x.shape), x.dtype, x.device)
    out_statistics = options.statistics_buffer(return_statistics, name, out, x.shape[1])
    custom_ops.layer_norm(x, norm.weight, norm.bias, norm.eps, out, out_statistics)
    return out, out_statistics


def compute_row_statistics(x: Tensor, *, options: Options = DEFAULT, name: str = "statistics") -> Tensor:
    """Row statistics of x: (M, D) -> float32 (1, 2, M), or float64 for float64."""
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
    name: str = "mean_pool",
) -> Tensor:
    """Mean over the patch tokens: (B, N, D) -> (B, D) in x's dtype.

    Args:
        prefix: number of leading tokens to leave out.
        row_statistics: of x, (parts, 2, B · N), to normalise each token first; None to pool x itself.
        eps: of that LayerNorm.
    """
    checks.shape("x", x, "B", "N", "D")
    checks.dtype("x", x, *checks.FLOATS)
    if not 0 <= prefix < x.shape[1]:
        raise ValueError(f"prefix ({prefix}) must be at least 0 and less than the {x.shape[1]} tokens")
    if not options.uses_triton(x):
        return reference.mean_pool(x, prefix, row_statistics, eps)
    out = options.empty(name, (len(x), x.shape[2]), x.dtype, x.device)
    custom_ops.mean_pool(x, prefix, row_statistics, eps, out)
    return out


def _reference_statistics(x: Tensor, return_statistics: bool) -> Tensor | None:
    return reference.row_statistics(x.flatten(0, -2)) if return_statistics else None

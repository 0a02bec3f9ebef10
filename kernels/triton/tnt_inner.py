"""Kernel of `tnt_inner`: all inner blocks of a group of patches in one program, their inner tokens kept on chip."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import tnt_heuristics
from ..weights import CHUNK
from .launch import check_dtype, launch
from .tiles import activate


@triton.jit
def tnt_inner_kernel(
    x_ptr,
    rows_ptr,
    state_ptr,
    qkv_ptr,
    query_bias_ptr,
    projection_ptr,
    projection_bias_ptr,
    expand_ptr,
    expand_bias_ptr,
    contract_ptr,
    contract_bias_ptr,
    M,
    eps,
    DEPTH: tl.constexpr,
    INNER_TOKENS: tl.constexpr,
    D: tl.constexpr,
    HEADS: tl.constexpr,
    PER_TOKEN: tl.constexpr,
    WITH_INPUT: tl.constexpr,
    PATCHES: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_F: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """All inner blocks: one program per PATCHES patches, which writes only inputs of projections.

    Weights are those of PackedInnerWeights with D' = BLOCK_D, E = BLOCK_E and F' = BLOCK_F. The residual stream
    stays float32 from block to block.

    Args:
        x_ptr: (M, INNER_TOKENS, D).
        rows_ptr: (WITH_INPUT + DEPTH, M, INNER_TOKENS, D), standardised: x itself with WITH_INPUT, then the output of
            each block.
        state_ptr: (M, INNER_TOKENS, D), output of the last block, or None.
        qkv_ptr … contract_bias_ptr: the tensors of PackedInnerWeights.
    """
    TOKENS: tl.constexpr = PATCHES * INNER_TOKENS
    tokens = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    channels = tl.arange(0, BLOCK_D)
    inside = (channels < D)[None, :]
    mask = (tokens < M.to(tl.int64) * INNER_TOKENS)[:, None] & inside
    offsets = tokens[:, None] * D + channels[None, :]
    row_size = M.to(tl.int64) * INNER_TOKENS * D
    x = tl.load(x_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    if WITH_INPUT:
        row = _standardise_rows(x, inside, eps, PATCHES, INNER_TOKENS, D, BLOCK_D)
        tl.store(rows_ptr + offsets, row.to(rows_ptr.dtype.element_ty), mask=mask)
        rows_ptr += row_size
    for block in range(DEPTH):
        y = _standardise(x, inside, eps, D).to(qkv_ptr.dtype.element_ty)
        values = _attention(
            y,
            qkv_ptr + block * 3 * BLOCK_D * BLOCK_E,
            query_bias_ptr + block * BLOCK_E,
            PATCHES,
            INNER_TOKENS,
            HEADS,
            BLOCK_D,
            BLOCK_E,
        )
        weight = _load_matrix(projection_ptr + block * BLOCK_E * BLOCK_D, BLOCK_D, BLOCK_E, BLOCK_D)
        x += tl.dot(values.to(y.dtype), weight, input_precision="ieee")
        x += tl.load(projection_bias_ptr + block * BLOCK_D + channels)[None, :]
        y = _standardise(x, inside, eps, D).to(y.dtype)
        for first in tl.static_range(0, BLOCK_F, CHUNK):
            weight = _load_matrix(expand_ptr + block * BLOCK_D * BLOCK_F + first, BLOCK_F, BLOCK_D, CHUNK)
            hidden = tl.dot(y, weight, input_precision="ieee")
            hidden += tl.load(expand_bias_ptr + block * BLOCK_F + first + tl.arange(0, CHUNK))[None, :]
            hidden = activate(hidden, "gelu").to(y.dtype)
            weight = _load_matrix(contract_ptr + (block * BLOCK_F + first) * BLOCK_D, BLOCK_D, CHUNK, BLOCK_D)
            x = tl.dot(hidden, weight, x, input_precision="ieee")
        x += tl.load(contract_bias_ptr + block * BLOCK_D + channels)[None, :]
        if PER_TOKEN:
            row = _standardise(x, inside, eps, D)
        else:
            row = _standardise_rows(x, inside, eps, PATCHES, INNER_TOKENS, D, BLOCK_D)
        tl.store(rows_ptr + offsets, row.to(rows_ptr.dtype.element_ty), mask=mask)
        rows_ptr += row_size
    if state_ptr is not None:
        tl.store(state_ptr + offsets, x.to(state_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _attention(
    y,
    qkv_ptr,
    query_bias_ptr,
    PATCHES: tl.constexpr,
    INNER_TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_E: tl.constexpr,
):
    """Attention within each patch: (tokens, BLOCK_D) -> (tokens, BLOCK_E).

    A head is a handful of channels, too few for a GEMM of its own. So each query is repeated for every head with
    the other heads' channels zero, one GEMM per patch gives the scores of all heads, and of the output each head
    keeps its channels.
    """
    columns = tl.arange(0, BLOCK_E)
    q = tl.dot(y, _load_matrix(qkv_ptr, BLOCK_E, BLOCK_D, BLOCK_E), input_precision="ieee")
    k = tl.dot(y, _load_matrix(qkv_ptr + BLOCK_D * BLOCK_E, BLOCK_E, BLOCK_D, BLOCK_E), input_precision="ieee")
    v = tl.dot(y, _load_matrix(qkv_ptr + 2 * BLOCK_D * BLOCK_E, BLOCK_E, BLOCK_D, BLOCK_E), input_precision="ieee")
    q = (q + tl.load(query_bias_ptr + columns)[None, :]) * 1.4426950408889634  # log2(e): powers of two below
    head_mask = columns[None, :] // (BLOCK_E // HEADS) == tl.arange(0, HEADS)[:, None]
    head_mask = head_mask[None, :, None, :]  # (1, HEADS, 1, BLOCK_E)
    queries = tl.reshape(q.to(y.dtype), (PATCHES, 1, INNER_TOKENS, BLOCK_E)) * head_mask.to(y.dtype)
    queries = tl.reshape(queries, (PATCHES, HEADS * INNER_TOKENS, BLOCK_E))
    keys = tl.reshape(k.to(y.dtype), (PATCHES, INNER_TOKENS, BLOCK_E))
    values = tl.reshape(v.to(y.dtype), (PATCHES, INNER_TOKENS, BLOCK_E))
    scores = tl.dot(
        queries, tl.permute(keys, (0, 2, 1)), input_precision="ieee"
    )  # (PATCHES, HEADS · INNER_TOKENS, INNER_TOKENS)
    weights = tl.exp2(scores - tl.max(scores, axis=2)[:, :, None])
    row_sum = tl.sum(weights, axis=2)
    output = tl.dot(weights.to(y.dtype), values, input_precision="ieee") / row_sum[:, :, None]
    output = tl.reshape(output, (PATCHES, HEADS, INNER_TOKENS, BLOCK_E)) * head_mask.to(tl.float32)
    return tl.reshape(tl.sum(output, axis=1), (PATCHES * INNER_TOKENS, BLOCK_E))


@triton.jit
def _standardise(x, inside, eps, D: tl.constexpr):
    """Standardise each token: zero mean, unit variance; channels beyond D stay zero."""
    deviations = tl.where(inside, x - (tl.sum(x, axis=1) / D)[:, None], 0.0)
    return deviations * tl.rsqrt(tl.sum(deviations * deviations, axis=1) / D + eps)[:, None]


@triton.jit
def _standardise_rows(
    x, inside, eps, PATCHES: tl.constexpr, INNER_TOKENS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Standardise each patch's inner tokens together: zero mean, unit variance; channels beyond D stay zero."""
    mean = tl.sum(tl.reshape(tl.sum(x, axis=1), (PATCHES, INNER_TOKENS)), axis=1) / (INNER_TOKENS * D)
    deviations = tl.where(inside, x - _per_token(mean, PATCHES, INNER_TOKENS)[:, None], 0.0)
    squares = tl.sum(tl.reshape(tl.sum(deviations * deviations, axis=1), (PATCHES, INNER_TOKENS)), axis=1)
    return deviations * _per_token(tl.rsqrt(squares / (INNER_TOKENS * D) + eps), PATCHES, INNER_TOKENS)[:, None]


@triton.jit
def _per_token(values, PATCHES: tl.constexpr, INNER_TOKENS: tl.constexpr):
    return tl.reshape(tl.broadcast_to(values[:, None], (PATCHES, INNER_TOKENS)), (PATCHES * INNER_TOKENS,))


@triton.jit
def _load_matrix(ptr, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    return tl.load(ptr + tl.arange(0, ROWS)[:, None] * stride + tl.arange(0, COLUMNS)[None, :])


def tnt_inner(
    x: Tensor,
    qkv: Tensor,
    query_bias: Tensor,
    projection: Tensor,
    projection_bias: Tensor,
    expand: Tensor,
    expand_bias: Tensor,
    contract: Tensor,
    contract_bias: Tensor,
    heads: int,
    dim: int,
    eps: float,
    per_token: bool,
    rows: Tensor,
    state: Tensor | None,
    batch_invariant: bool,
) -> None:
    """Launch `tnt_inner_kernel` on the tensors of PackedInnerWeights.

    Args:
        x: (M, W · dim), in the weights' dtype or float32.
        heads: of the packed weights.
        dim: channels of an inner token.
        rows: (L, M, W · dim), or (1 + L, M, W · dim) to begin with the input of x's own projection.
        state: (M, W · dim), output of the last block, or None.
    """
    check_dtype(qkv)
    patches, width = x.shape
    count = width // dim
    config = tnt_heuristics.tnt_inner(patches, dim, count, qkv.dtype, x.device, batch_invariant)
    launch(
        tnt_inner_kernel,
        (triton.cdiv(patches, config.block_m),),
        config,
        x.contiguous(),
        rows,
        state,
        qkv,
        query_bias,
        projection,
        projection_bias,
        expand,
        expand_bias,
        contract,
        contract_bias,
        patches,
        eps,
        DEPTH=len(qkv),
        INNER_TOKENS=count,
        D=dim,
        HEADS=heads,
        PER_TOKEN=per_token,
        WITH_INPUT=len(rows) > len(qkv),
        PATCHES=config.block_m,
        BLOCK_D=qkv.shape[2],
        BLOCK_E=qkv.shape[3],
        BLOCK_F=expand.shape[2],
        CHUNK=CHUNK,
    )

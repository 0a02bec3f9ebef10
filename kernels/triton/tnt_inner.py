"""`tnt_inner`: the inner blocks of a group of patches in one program, their words on chip from first to last."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import tnt_heuristics
from ..weights import CHUNK
from .launch import check_dtype, launch
from .tiles import activate


@triton.jit
def tnt_inner_kernel(
    words_ptr,
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
    """One program per PATCHES patches; each block reads its weights and writes the row for its projection, no more.

    words_ptr: (M, INNER_TOKENS, D). rows_ptr: (WITH_INPUT + DEPTH, M, INNER_TOKENS, D), standardised.
    state_ptr: (M, INNER_TOKENS, D) or None. The weights are
    PackedInnerWeights's with D' = BLOCK_D, E = BLOCK_E, F' = BLOCK_F; x stays float32 from block to block.
    """
    TOKENS: tl.constexpr = PATCHES * INNER_TOKENS
    tokens = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    channels = tl.arange(0, BLOCK_D)
    inside = (channels < D)[None, :]
    mask = (tokens < M.to(tl.int64) * INNER_TOKENS)[:, None] & inside
    offsets = tokens[:, None] * D + channels[None, :]
    snapshot = M.to(tl.int64) * INNER_TOKENS * D
    x = tl.load(words_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    if WITH_INPUT:
        row = _standardised_rows(x, inside, eps, PATCHES, INNER_TOKENS, D, BLOCK_D)
        tl.store(rows_ptr + offsets, row.to(rows_ptr.dtype.element_ty), mask=mask)
        rows_ptr += snapshot
    for block in range(DEPTH):
        y = _standardised(x, inside, eps, D).to(qkv_ptr.dtype.element_ty)
        mixed = _attend(
            y,
            qkv_ptr + block * 3 * BLOCK_D * BLOCK_E,
            query_bias_ptr + block * BLOCK_E,
            PATCHES,
            INNER_TOKENS,
            HEADS,
            BLOCK_D,
            BLOCK_E,
        )
        weight = _matrix(projection_ptr + block * BLOCK_E * BLOCK_D, BLOCK_D, BLOCK_E, BLOCK_D)
        x += tl.dot(mixed.to(y.dtype), weight, input_precision="ieee")
        x += tl.load(projection_bias_ptr + block * BLOCK_D + channels)[None, :]
        y = _standardised(x, inside, eps, D).to(y.dtype)
        for first in tl.static_range(0, BLOCK_F, CHUNK):
            weight = _matrix(expand_ptr + block * BLOCK_D * BLOCK_F + first, BLOCK_F, BLOCK_D, CHUNK)
            hidden = tl.dot(y, weight, input_precision="ieee")
            hidden += tl.load(expand_bias_ptr + block * BLOCK_F + first + tl.arange(0, CHUNK))[None, :]
            hidden = activate(hidden, "gelu").to(y.dtype)
            weight = _matrix(contract_ptr + (block * BLOCK_F + first) * BLOCK_D, BLOCK_D, CHUNK, BLOCK_D)
            x = tl.dot(hidden, weight, x, input_precision="ieee")
        x += tl.load(contract_bias_ptr + block * BLOCK_D + channels)[None, :]
        if PER_TOKEN:
            row = _standardised(x, inside, eps, D)
        else:
            row = _standardised_rows(x, inside, eps, PATCHES, INNER_TOKENS, D, BLOCK_D)
        tl.store(rows_ptr + offsets, row.to(rows_ptr.dtype.element_ty), mask=mask)
        rows_ptr += snapshot
    if state_ptr is not None:
        tl.store(state_ptr + offsets, x.to(state_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _attend(
    y,
    qkv_ptr,
    query_bias_ptr,
    PATCHES: tl.constexpr,
    INNER_TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_E: tl.constexpr,
):
    """Attention of each patch's words: (tokens, BLOCK_D) -> (tokens, BLOCK_E).

    A head is a handful of channels, too few for a product of its own. So each query stands once for every head, the
    other heads' channels zero, and one product per patch has all heads' scores; of the mixed values each head keeps its
    channels.
    """
    columns = tl.arange(0, BLOCK_E)
    q = tl.dot(y, _matrix(qkv_ptr, BLOCK_E, BLOCK_D, BLOCK_E), input_precision="ieee")
    k = tl.dot(y, _matrix(qkv_ptr + BLOCK_D * BLOCK_E, BLOCK_E, BLOCK_D, BLOCK_E), input_precision="ieee")
    v = tl.dot(y, _matrix(qkv_ptr + 2 * BLOCK_D * BLOCK_E, BLOCK_E, BLOCK_D, BLOCK_E), input_precision="ieee")
    q = (q + tl.load(query_bias_ptr + columns)[None, :]) * 1.4426950408889634  # log2(e): powers of two below
    own = columns[None, :] // (BLOCK_E // HEADS) == tl.arange(0, HEADS)[:, None]
    own = own[None, :, None, :]  # (1, HEADS, 1, BLOCK_E)
    queries = tl.reshape(q.to(y.dtype), (PATCHES, 1, INNER_TOKENS, BLOCK_E)) * own.to(y.dtype)
    queries = tl.reshape(queries, (PATCHES, HEADS * INNER_TOKENS, BLOCK_E))
    keys = tl.reshape(k.to(y.dtype), (PATCHES, INNER_TOKENS, BLOCK_E))
    values = tl.reshape(v.to(y.dtype), (PATCHES, INNER_TOKENS, BLOCK_E))
    scores = tl.dot(
        queries, tl.permute(keys, (0, 2, 1)), input_precision="ieee"
    )  # (PATCHES, HEADS · INNER_TOKENS, INNER_TOKENS)
    weights = tl.exp2(scores - tl.max(scores, axis=2)[:, :, None])
    total = tl.sum(weights, axis=2)
    mixed = tl.dot(weights.to(y.dtype), values, input_precision="ieee") / total[:, :, None]
    mixed = tl.reshape(mixed, (PATCHES, HEADS, INNER_TOKENS, BLOCK_E)) * own.to(tl.float32)
    return tl.reshape(tl.sum(mixed, axis=1), (PATCHES * INNER_TOKENS, BLOCK_E))


@triton.jit
def _standardised(x, inside, eps, D: tl.constexpr):
    """Each token without its mean and of variance one; channels beyond D stay zero."""
    deviations = tl.where(inside, x - (tl.sum(x, axis=1) / D)[:, None], 0.0)
    return deviations * tl.rsqrt(tl.sum(deviations * deviations, axis=1) / D + eps)[:, None]


@triton.jit
def _standardised_rows(
    x, inside, eps, PATCHES: tl.constexpr, INNER_TOKENS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Each patch's words together without their mean and of variance one."""
    mean = tl.sum(tl.reshape(tl.sum(x, axis=1), (PATCHES, INNER_TOKENS)), axis=1) / (INNER_TOKENS * D)
    deviations = tl.where(inside, x - _for_words(mean, PATCHES, INNER_TOKENS)[:, None], 0.0)
    squares = tl.sum(tl.reshape(tl.sum(deviations * deviations, axis=1), (PATCHES, INNER_TOKENS)), axis=1)
    return deviations * _for_words(tl.rsqrt(squares / (INNER_TOKENS * D) + eps), PATCHES, INNER_TOKENS)[:, None]


@triton.jit
def _for_words(values, PATCHES: tl.constexpr, INNER_TOKENS: tl.constexpr):
    return tl.reshape(tl.broadcast_to(values[:, None], (PATCHES, INNER_TOKENS)), (PATCHES * INNER_TOKENS,))


@triton.jit
def _matrix(ptr, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    return tl.load(ptr + tl.arange(0, ROWS)[:, None] * stride + tl.arange(0, COLUMNS)[None, :])


def tnt_inner(
    words: Tensor,
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
    """Launches over packed weights. `rows` has one entry more than there are blocks where the input's is wanted too.

    words and state may be float32 beside weights of another dtype.
    """
    check_dtype(qkv)
    patches, width = words.shape
    count = width // dim
    tile = tnt_heuristics.tnt_inner(patches, dim, count, qkv.dtype, words.device, batch_invariant)
    launch(
        tnt_inner_kernel,
        (triton.cdiv(patches, tile.block_m),),
        tile,
        words.contiguous(),
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
        PATCHES=tile.block_m,
        BLOCK_D=qkv.shape[2],
        BLOCK_E=qkv.shape[3],
        BLOCK_F=expand.shape[2],
        CHUNK=CHUNK,
    )

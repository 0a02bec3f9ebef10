"""`class_attention`: the last block's few absorbed queries over all tokens, in two launches that fill the GPU at
batch 1.
"""

import triton
import triton.language as tl
from torch import Tensor

from ..reference import part_width
from ..tuning import heuristics
from .launch import check_dtype, launch, power_of_two
from .tiles import mean_and_rstd


@triton.jit
def class_attention_scores_kernel(
    queries_ptr,
    x_ptr,
    statistics_ptr,
    scores_ptr,
    Q,
    N,
    D,
    rows,
    part_stride,
    moment_stride,
    statistics_stride,
    eps,
    scale,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per image and tile of tokens: queries (B, Q, D), x (B, N, D) -> float32 scores (B, Q, N).

    statistics_ptr: (PARTS, 2, rows = B · N), or None where x is normalised already.
    """
    image = tl.program_id(0).to(tl.int64)
    tokens = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    queries = tl.arange(0, BLOCK_Q)
    within = tl.arange(0, BLOCK_K)
    query_ptrs = queries_ptr + image * Q * D + queries[:, None] * D + within[None, :]
    x_ptrs = x_ptr + image * N * D + tokens[:, None] * D + within[None, :]
    product = tl.zeros((BLOCK_Q, BLOCK_N), tl.float32)
    sums = tl.zeros((BLOCK_Q,), tl.float32)
    for depth in range(0, D, BLOCK_K):
        inside = (depth + within < D)[None, :]
        q = tl.load(query_ptrs + depth, mask=(queries < Q)[:, None] & inside, other=0.0)
        x = tl.load(x_ptrs + depth, mask=(tokens < N)[:, None] & inside, other=0.0)
        product = tl.dot(q, x.T, product, input_precision="ieee")
        sums += tl.sum(q.to(tl.float32), axis=1)
    if statistics_ptr is not None:
        mean, rstd = mean_and_rstd(
            statistics_ptr,
            image * N + tokens,
            tokens < N,
            D,
            part_stride,
            moment_stride,
            statistics_stride,
            eps,
            PARTS,
            WIDTH,
        )
        product = (product - sums[:, None] * mean[None, :]) * rstd[None, :]
    mask = (queries < Q)[:, None] & (tokens < N)[None, :]
    tl.store(scores_ptr + image * Q * N + queries[:, None] * N + tokens[None, :], product * scale, mask=mask)


@triton.jit
def class_attention_output_kernel(
    scores_ptr,
    x_ptr,
    statistics_ptr,
    out_ptr,
    Q,
    N,
    D,
    rows,
    part_stride,
    moment_stride,
    statistics_stride,
    eps,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per image and tile of BLOCK_K channels: softmax of scores (B, Q, N) over x (B, N, D) -> out (B, Q,
    D).
    """
    image = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    queries = tl.arange(0, BLOCK_Q)
    score_ptrs = scores_ptr + image * Q * N + queries[:, None] * N
    highest = tl.full((BLOCK_Q,), float("-inf"), tl.float32)
    for first in range(0, N, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        mask = (queries < Q)[:, None] & (tokens < N)[None, :]
        scores = tl.load(score_ptrs + tokens[None, :], mask=mask, other=float("-inf"))
        highest = tl.maximum(highest, tl.max(scores, axis=1))
    highest = tl.where(queries < Q, highest, 0.0)
    total = tl.zeros((BLOCK_Q,), tl.float32)
    shift = tl.zeros((BLOCK_Q,), tl.float32)
    mixed = tl.zeros((BLOCK_Q, BLOCK_K), tl.float32)
    for first in range(0, N, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        mask = (queries < Q)[:, None] & (tokens < N)[None, :]
        scores = tl.load(score_ptrs + tokens[None, :], mask=mask, other=float("-inf"))
        weights = tl.exp2((scores - highest[:, None]) * 1.4426950408889634)
        total += tl.sum(weights, axis=1)
        x_ptrs = x_ptr + image * N * D + tokens[:, None] * D + channels[None, :]
        x = tl.load(x_ptrs, mask=(tokens < N)[:, None] & (channels < D)[None, :], other=0.0)
        if statistics_ptr is not None:
            mean, rstd = mean_and_rstd(
                statistics_ptr,
                image * N + tokens,
                tokens < N,
                D,
                part_stride,
                moment_stride,
                statistics_stride,
                eps,
                PARTS,
                WIDTH,
            )
            scaled = tl.where(mask, weights * rstd[None, :], 0.0).to(x.dtype)
            shift += tl.sum(scaled.to(tl.float32) * mean[None, :], axis=1)
        else:
            scaled = weights.to(x.dtype)
        mixed = tl.dot(scaled, x, mixed, input_precision="ieee")
    mixed = (mixed - shift[:, None]) / tl.where(queries < Q, total, 1.0)[:, None]
    mask = (queries < Q)[:, None] & (channels < D)[None, :]
    out_ptrs = out_ptr + image * Q * D + queries[:, None] * D + channels[None, :]
    tl.store(out_ptrs, mixed.to(out_ptr.dtype.element_ty), mask=mask)


def class_attention(
    queries: Tensor,
    x: Tensor,
    statistics: Tensor | None,
    eps: float,
    scale: float,
    scores: Tensor,
    out: Tensor,
) -> None:
    """Launches over tensors as in `ops.class_attention`; `scores`, float32 (B, Q, N), passes from one kernel to the
    next.
    """
    check_dtype(x)
    batch, tokens, dim = x.shape
    count = queries.shape[1]
    tile = heuristics.small(x.dtype, x.device)
    parts = 1 if statistics is None else len(statistics)
    sizes = (
        count,
        tokens,
        dim,
        batch * tokens,
        *((0, 0, 0) if statistics is None else statistics.stride()),
        eps,
    )
    constants = {
        "PARTS": parts,
        "WIDTH": power_of_two(dim) if parts == 1 else part_width(dim, parts),
        "BLOCK_Q": power_of_two(count, 16),
        "BLOCK_N": tile.block_n,
        "BLOCK_K": tile.block_k,
    }
    x, queries = x.contiguous(), queries.contiguous()
    token_tiles, channel_tiles = triton.cdiv(tokens, tile.block_n), triton.cdiv(dim, tile.block_k)
    launch(
        class_attention_scores_kernel,
        (batch, token_tiles),
        tile,
        queries,
        x,
        statistics,
        scores,
        *sizes,
        scale,
        **constants,
    )
    launch(class_attention_output_kernel, (batch, channel_tiles), tile, scores, x, statistics, out, *sizes, **constants)

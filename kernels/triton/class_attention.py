"""Kernels of `class_attention`: absorbed queries over all tokens, in two launches that fill the GPU at batch 1."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import heuristics
from ..tuning.heuristics import next_power_of_two
from .launch import check_dtype, launch, statistics_layout
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
    """Attention scores: one program per image and tile of tokens.

    Args:
        queries_ptr: (B, Q, D).
        x_ptr: (B, N, D).
        statistics_ptr: float32 (PARTS, 2, B · N), of x, or None where x is normalised.
        scores_ptr: float32 (B, Q, N).
    """
    image = tl.program_id(0).to(tl.int64)
    tokens = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    queries = tl.arange(0, BLOCK_Q)
    within = tl.arange(0, BLOCK_K)
    query_ptrs = queries_ptr + image * Q * D + queries[:, None] * D + within[None, :]
    x_ptrs = x_ptr + image * N * D + tokens[:, None] * D + within[None, :]
    acc = tl.zeros((BLOCK_Q, BLOCK_N), tl.float32)
    sums = tl.zeros((BLOCK_Q,), tl.float32)
    for depth in range(0, D, BLOCK_K):
        inside = (depth + within < D)[None, :]
        q = tl.load(query_ptrs + depth, mask=(queries < Q)[:, None] & inside, other=0.0)
        x = tl.load(x_ptrs + depth, mask=(tokens < N)[:, None] & inside, other=0.0)
        acc = tl.dot(q, x.T, acc, input_precision="ieee")
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
        acc = (acc - sums[:, None] * mean[None, :]) * rstd[None, :]
    mask = (queries < Q)[:, None] & (tokens < N)[None, :]
    tl.store(scores_ptr + image * Q * N + queries[:, None] * N + tokens[None, :], acc * scale, mask=mask)


@triton.jit
def class_attention_output_kernel(
    scores_ptr,
    x_ptr,
    statistics_ptr,
    out_ptr,
    Q,
    N,
    D,
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
    """Attention output: softmax over scores, times tokens; one program per image and tile of BLOCK_K channels.

    Args:
        scores_ptr: float32 (B, Q, N).
        x_ptr: (B, N, D).
        statistics_ptr: float32 (PARTS, 2, B · N), of x, or None where x is normalised.
        out_ptr: (B, Q, D).
    """
    image = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    queries = tl.arange(0, BLOCK_Q)
    score_ptrs = scores_ptr + image * Q * N + queries[:, None] * N
    row_max = tl.full((BLOCK_Q,), float("-inf"), tl.float32)
    for first in range(0, N, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        mask = (queries < Q)[:, None] & (tokens < N)[None, :]
        scores = tl.load(score_ptrs + tokens[None, :], mask=mask, other=float("-inf"))
        row_max = tl.maximum(row_max, tl.max(scores, axis=1))
    row_max = tl.where(queries < Q, row_max, 0.0)
    row_sum = tl.zeros((BLOCK_Q,), tl.float32)
    shift = tl.zeros((BLOCK_Q,), tl.float32)
    acc = tl.zeros((BLOCK_Q, BLOCK_K), tl.float32)
    for first in range(0, N, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        mask = (queries < Q)[:, None] & (tokens < N)[None, :]
        scores = tl.load(score_ptrs + tokens[None, :], mask=mask, other=float("-inf"))
        weights = tl.exp2((scores - row_max[:, None]) * 1.4426950408889634)
        row_sum += tl.sum(weights, axis=1)
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
        acc = tl.dot(scaled, x, acc, input_precision="ieee")
    acc = (acc - shift[:, None]) / tl.where(queries < Q, row_sum, 1.0)[:, None]
    mask = (queries < Q)[:, None] & (channels < D)[None, :]
    out_ptrs = out_ptr + image * Q * D + queries[:, None] * D + channels[None, :]
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=mask)


def class_attention(
    queries: Tensor,
    x: Tensor,
    statistics: Tensor | None,
    eps: float,
    scale: float,
    scores: Tensor,
    out: Tensor,
) -> None:
    """Launch both kernels of `class_attention`.

    Args:
        queries, out: (B, Q, D).
        x: (B, N, D).
        statistics: float32 (parts, 2, B · N), of x, or None where x is normalised.
        scores: float32 (B, Q, N), scratch.
    """
    check_dtype(x)
    batch, tokens, dim = x.shape
    count = queries.shape[1]
    config = heuristics.small(x.dtype, x.device)
    strides, layout = statistics_layout(statistics, dim)
    sizes = (count, tokens, dim, *strides, eps)
    constants = {
        **layout,
        "BLOCK_Q": next_power_of_two(count, 16),
        "BLOCK_N": config.block_n,
        "BLOCK_K": config.block_k,
    }
    x, queries = x.contiguous(), queries.contiguous()
    token_tiles, channel_tiles = triton.cdiv(tokens, config.block_n), triton.cdiv(dim, config.block_k)
    launch(
        class_attention_scores_kernel,
        (batch, token_tiles),
        config,
        queries,
        x,
        statistics,
        scores,
        *sizes,
        scale,
        **constants,
    )
    launch(
        class_attention_output_kernel, (batch, channel_tiles), config, scores, x, statistics, out, *sizes, **constants
    )

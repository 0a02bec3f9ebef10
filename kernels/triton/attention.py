"""Kernels of `attention` over packed Q, K and V, for the few hundred tokens of an image."""

import math

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import heuristics
from ..tuning.heuristics import next_power_of_two
from .launch import check_dtype, launch

LOG2_E = 1 / math.log(2)


@triton.jit
def single_pass_attention_kernel(
    qkv_ptr,
    out_ptr,
    query_weight_ptr,
    query_bias_ptr,
    key_weight_ptr,
    key_bias_ptr,
    N,
    heads,
    scale,
    query_eps,
    key_eps,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PDL: tl.constexpr,
):
    """Attention with all keys in one tile: one program per tile of queries and per image and head.

    Args:
        qkv_ptr: (B, N, 3, heads, D).
        out_ptr: (B, N, heads, D).
        query_weight_ptr, query_bias_ptr, key_weight_ptr, key_bias_ptr: float32 (D,), QK-norm, or None.
        scale: of the scores, times log2(e): the softmax uses powers of two.
    """
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    image = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads
    queries = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    keys = tl.arange(0, BLOCK_N)
    base = qkv_ptr + image * N * 3 * heads * D + head * D
    q = _load_rows(base, queries, N, heads, query_weight_ptr, query_bias_ptr, query_eps, D, BLOCK_D)
    k = _load_rows(base + heads * D, keys, N, heads, key_weight_ptr, key_bias_ptr, key_eps, D, BLOCK_D)
    v = _load_rows(base + 2 * heads * D, keys, N, heads, None, None, 0.0, D, BLOCK_D)
    scores = tl.dot(q, k.T, input_precision="ieee") * scale
    scores = tl.where((keys < N)[None, :], scores, float("-inf"))
    weights = tl.exp2(scores - tl.max(scores, axis=1)[:, None])
    row_sum = tl.sum(weights, axis=1)
    acc = tl.dot(weights.to(v.dtype), v, input_precision="ieee") / row_sum[:, None]
    _store_rows(out_ptr + image * N * heads * D + head * D, queries, N, heads, acc, D, BLOCK_D)


@triton.jit
def blocked_attention_kernel(
    qkv_ptr,
    out_ptr,
    query_weight_ptr,
    query_bias_ptr,
    key_weight_ptr,
    key_bias_ptr,
    N,
    heads,
    scale,
    query_eps,
    key_eps,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PDL: tl.constexpr,
):
    """Attention over BLOCK_N keys at a time with an online softmax (Milakov & Gimelshein, arXiv 1805.02867).

    Programs and arguments are those of single_pass_attention_kernel.
    """
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    image = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads
    queries = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    base = qkv_ptr + image * N * 3 * heads * D + head * D
    q = _load_rows(base, queries, N, heads, query_weight_ptr, query_bias_ptr, query_eps, D, BLOCK_D)
    row_max = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    row_sum = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for first in range(0, N, BLOCK_N):
        keys = first + tl.arange(0, BLOCK_N)
        k = _load_rows(base + heads * D, keys, N, heads, key_weight_ptr, key_bias_ptr, key_eps, D, BLOCK_D)
        v = _load_rows(base + 2 * heads * D, keys, N, heads, None, None, 0.0, D, BLOCK_D)
        scores = tl.dot(q, k.T, input_precision="ieee") * scale
        scores = tl.where((keys < N)[None, :], scores, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        rescale = tl.exp2(row_max - new_max)
        weights = tl.exp2(scores - new_max[:, None])
        row_sum = row_sum * rescale + tl.sum(weights, axis=1)
        acc = tl.dot(weights.to(v.dtype), v, acc * rescale[:, None], input_precision="ieee")
        row_max = new_max
    _store_rows(out_ptr + image * N * heads * D + head * D, queries, N, heads, acc / row_sum[:, None], D, BLOCK_D)


@triton.jit
def _load_rows(base, rows, N, heads, weight_ptr, bias_ptr, eps, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Load (rows, BLOCK_D) of one head's queries, keys or values, zero beyond N and D; with LayerNorm if weight_ptr."""
    channels = tl.arange(0, BLOCK_D)
    inside = channels < D
    ptrs = base + rows[:, None] * (3 * heads * D) + channels[None, :]
    if D == BLOCK_D:
        x = tl.load(ptrs, mask=(rows < N)[:, None], other=0.0)
    else:
        x = tl.load(ptrs, mask=(rows < N)[:, None] & inside[None, :], other=0.0)
    if weight_ptr is not None:
        values = x.to(tl.float32)
        mean = tl.sum(values, axis=1) / D
        deviations = tl.where(inside[None, :], values - mean[:, None], 0.0)
        rstd = tl.rsqrt(tl.sum(deviations * deviations, axis=1) / D + eps)
        weight = tl.load(weight_ptr + channels, mask=inside, other=0.0)
        bias = tl.load(bias_ptr + channels, mask=inside, other=0.0)
        x = (deviations * rstd[:, None] * weight[None, :] + bias[None, :]).to(x.dtype)
    return x


@triton.jit
def _store_rows(base, rows, N, heads, values, D: tl.constexpr, BLOCK_D: tl.constexpr):
    channels = tl.arange(0, BLOCK_D)
    mask = (rows < N)[:, None] & (channels < D)[None, :]
    tl.store(base + rows[:, None] * (heads * D) + channels[None, :], values.to(base.dtype.element_ty), mask=mask)


def attention(
    qkv: Tensor,
    heads: int,
    query_weight: Tensor | None,
    query_bias: Tensor | None,
    key_weight: Tensor | None,
    key_bias: Tensor | None,
    query_eps: float,
    key_eps: float,
    out: Tensor,
) -> None:
    """Launch a kernel of `attention`: single-pass where a tile holds all keys, blocked otherwise.

    Args:
        qkv: (B, N, 3 · heads · d).
        query_weight, query_bias, key_weight, key_bias: float32 (d,), or None: no QK-norm.
        out: (B, N, heads · d).
    """
    check_dtype(qkv)
    batch, tokens, dim = out.shape
    width = dim // heads
    qkv = qkv.contiguous()
    config = heuristics.attention(tokens, width, qkv.dtype, qkv.device)
    launch(
        single_pass_attention_kernel if config.block_n >= tokens else blocked_attention_kernel,
        (triton.cdiv(tokens, config.block_m), batch * heads),
        config,
        qkv,
        out,
        query_weight,
        query_bias,
        key_weight,
        key_bias,
        tokens,
        heads,
        LOG2_E / math.sqrt(width),
        query_eps,
        key_eps,
        D=width,
        BLOCK_M=config.block_m,
        BLOCK_N=config.block_n,
        BLOCK_D=next_power_of_two(width, 16),
        PDL=config.pdl,
    )

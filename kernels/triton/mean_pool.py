"""Kernel of `mean_pool`: mean over patch tokens, normalising each by its row statistics on the way."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import heuristics
from .launch import launch, statistics_layout
from .tiles import mean_and_rstd


@triton.jit
def mean_pool_kernel(
    x_ptr,
    statistics_ptr,
    out_ptr,
    N,
    D,
    prefix,
    part_stride,
    moment_stride,
    statistics_stride,
    eps,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program per image and tile of channels.

    Args:
        x_ptr: (B, N, D).
        statistics_ptr: float32 (PARTS, 2, B · N), or None.
        out_ptr: (B, D).
    """
    image = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    total = tl.zeros((BLOCK_D,), tl.float32)
    for first in range(0, N, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        pooled = (tokens >= prefix) & (tokens < N)
        ptrs = x_ptr + (image * N + tokens)[:, None] * D + channels[None, :]
        mask = pooled[:, None] & (channels < D)[None, :]
        values = tl.load(ptrs, mask=mask, other=0.0).to(tl.float32)
        if statistics_ptr is not None:
            mean, rstd = mean_and_rstd(
                statistics_ptr,
                image * N + tokens,
                pooled,
                D,
                part_stride,
                moment_stride,
                statistics_stride,
                eps,
                PARTS,
                WIDTH,
            )
            values = tl.where(mask, (values - mean[:, None]) * rstd[:, None], 0.0)
        total += tl.sum(values, axis=0)
    average = (total / (N - prefix)).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + image * D + channels, average, mask=channels < D)


def mean_pool(x: Tensor, prefix: int, statistics: Tensor | None, eps: float, out: Tensor) -> None:
    """Launch `mean_pool_kernel` on the tensors of `ops.mean_pool`.

    Args:
        x: (B, N, D).
        statistics: float32 (parts, 2, B · N), or None.
        out: (B, D).
    """
    batch, tokens, dim = x.shape
    config = heuristics.small(x.dtype, x.device)
    strides, constants = statistics_layout(statistics, dim)
    launch(
        mean_pool_kernel,
        (batch, triton.cdiv(dim, config.block_k)),
        config,
        x.contiguous(),
        statistics,
        out,
        tokens,
        dim,
        prefix,
        *strides,
        eps,
        **constants,
        BLOCK_N=config.block_m,
        BLOCK_D=config.block_k,
    )

"""`mean_pool`: the mean over patch tokens, normalising each from its row statistics on the way."""

import triton
import triton.language as tl
from torch import Tensor

from ..reference import part_width
from ..tuning import heuristics
from .launch import launch, power_of_two
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
    """One program per image and tile of channels: x (B, N, D), statistics (PARTS, 2, B · N) or None, out (B, D)."""
    image = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    total = tl.zeros((BLOCK_D,), tl.float32)
    for first in range(0, N, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        counted = (tokens >= prefix) & (tokens < N)
        ptrs = x_ptr + (image * N + tokens)[:, None] * D + channels[None, :]
        mask = counted[:, None] & (channels < D)[None, :]
        values = tl.load(ptrs, mask=mask, other=0.0).to(tl.float32)
        if statistics_ptr is not None:
            mean, rstd = mean_and_rstd(
                statistics_ptr,
                image * N + tokens,
                counted,
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
    pooled = (total / (N - prefix)).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + image * D + channels, pooled, mask=channels < D)


def mean_pool(x: Tensor, prefix: int, statistics: Tensor | None, eps: float, out: Tensor) -> None:
    """Launches over tensors as in `ops.mean_pool`."""
    batch, tokens, dim = x.shape
    tile = heuristics.small(x.dtype, x.device)
    parts = 1 if statistics is None else len(statistics)
    launch(
        mean_pool_kernel,
        (batch, triton.cdiv(dim, tile.block_k)),
        tile,
        x.contiguous(),
        statistics,
        out,
        tokens,
        dim,
        prefix,
        *((0, 0, 0) if statistics is None else statistics.stride()),
        eps,
        PARTS=parts,
        WIDTH=power_of_two(dim) if parts == 1 else part_width(dim, parts),
        BLOCK_N=tile.block_m,
        BLOCK_D=tile.block_k,
    )

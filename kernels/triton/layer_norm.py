"""`layer_norm` and `compute_row_statistics`: one read of each row, for its normalised values, its moments, or both."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning.heuristics import LaunchConfig
from .launch import launch, power_of_two
from .tiles import store_row_statistics


@triton.jit
def layer_norm_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    statistics_ptr,
    M,
    D,
    x_stride,
    eps,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """BLOCK_M rows per program, each in one piece: x (M, D), weight and bias (D,), out (M, D), statistics (1, 2, M).

    Without weight and bias nothing is normalised and the statistics are those of x; else those of out.
    """
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channels = tl.arange(0, BLOCK_D)
    mask = (rows < M)[:, None] & (channels < D)[None, :]
    ptrs = x_ptr + rows.to(tl.int64)[:, None] * x_stride + channels[None, :]
    values = tl.load(ptrs, mask=mask, other=0.0).to(tl.float32)
    if weight_ptr is not None:
        mean = tl.sum(values, axis=1) / D
        deviations = tl.where(mask, values - mean[:, None], 0.0)
        rstd = tl.rsqrt(tl.sum(deviations * deviations, axis=1) / D + eps)
        weight = tl.load(weight_ptr + channels, mask=channels < D, other=0.0)
        bias = tl.load(bias_ptr + channels, mask=channels < D, other=0.0)
        rounded = (deviations * rstd[:, None] * weight[None, :] + bias[None, :]).to(out_ptr.dtype.element_ty)
        tl.store(out_ptr + rows.to(tl.int64)[:, None] * D + channels[None, :], rounded, mask=mask)
        values = rounded.to(tl.float32)
    if statistics_ptr is not None:
        store_row_statistics(values, rows, channels, M, D, tl.program_id(0) * 0, statistics_ptr, BLOCK_D)


def layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, out: Tensor | None, statistics: Tensor | None
) -> None:
    """Launches over tensors as in `ops.layer_norm`; without `weight` only `statistics` are written."""
    rows, dim = x.shape
    block_d = power_of_two(dim)
    block_m = max(1, min(8, 4096 // block_d))
    tile = LaunchConfig(block_m, block_d, num_warps=4 if block_d <= 4096 else 8, num_stages=1)
    launch(
        layer_norm_kernel,
        (triton.cdiv(rows, block_m),),
        tile,
        x,
        weight,
        bias,
        out,
        statistics,
        rows,
        dim,
        x.stride(0),
        eps,
        BLOCK_M=block_m,
        BLOCK_D=block_d,
    )

"""Kernel of `layer_norm` and `compute_row_statistics`: LayerNorm of a row, its statistics, or both, in one read."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning.heuristics import LaunchConfig, next_power_of_two
from .launch import launch
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
    """BLOCK_M rows per program, each as a whole.

    Args:
        x_ptr: (M, D), row stride x_stride.
        weight_ptr, bias_ptr: float32 (D,), or None: x is not normalised, and the statistics are its own.
        out_ptr: (M, D), or None without weight.
        statistics_ptr: float32 (1, 2, M), row statistics of the result, or None.
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
    """Launch `layer_norm_kernel` on the tensors of `ops.layer_norm`.

    Args:
        x: (M, D).
        weight, bias: float32 (D,), or None: only the statistics of x are computed.
        out: (M, D), or None without weight.
        statistics: float32 (1, 2, M), or None.
    """
    rows, dim = x.shape
    block_d = next_power_of_two(dim)
    block_m = max(1, min(8, 4096 // block_d))
    config = LaunchConfig(block_m, block_d, num_warps=4 if block_d <= 4096 else 8, num_stages=1)
    launch(
        layer_norm_kernel,
        (triton.cdiv(rows, block_m),),
        config,
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

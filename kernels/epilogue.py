"""What both forms of `linear` do with a finished tile of the product: device code only."""

import triton
import triton.language as tl

from .tiles import activate, row_moments, store_row_moments


@triton.jit
def finish(
    product,
    row_tile,
    column_tile,
    out_desc,
    out_ptr,
    bias_ptr,
    sums_ptr,
    statistics_ptr,
    residual_ptr,
    out_statistics_ptr,
    M,
    O,
    K,
    out_stride,
    residual_stride,
    part_stride,
    moment_stride,
    statistics_stride,
    eps,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """The epilogue of both forms: LayerNorm, bias, activation, residual, rounding, row statistics, store."""
    rows = row_tile * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = column_tile * BLOCK_N + tl.arange(0, BLOCK_N)
    if sums_ptr is not None:
        mean, rstd = row_moments(
            statistics_ptr, rows, rows < M, K, part_stride, moment_stride, statistics_stride, eps, PARTS, WIDTH
        )
        sums = tl.load(sums_ptr + columns, mask=columns < O, other=0.0)
        product = (product - mean[:, None] * sums[None, :]) * rstd[:, None]
    if bias_ptr is not None:
        product += tl.load(bias_ptr + columns, mask=columns < O, other=0.0)[None, :]
    value = activate(product, ACTIVATION)
    OUT_N: tl.constexpr = BLOCK_N // 2 if ACTIVATION == "swiglu" else BLOCK_N
    out_columns = O // 2 if ACTIVATION == "swiglu" else O
    columns = column_tile * OUT_N + tl.arange(0, OUT_N)
    mask = (rows < M)[:, None] & (columns < out_columns)[None, :]
    if residual_ptr is not None:
        residual_ptrs = residual_ptr + rows.to(tl.int64)[:, None] * residual_stride + columns[None, :]
        value += tl.load(residual_ptrs, mask=mask, other=0.0).to(tl.float32)
    rounded = value.to(out_ptr.dtype.element_ty)
    if out_statistics_ptr is not None:
        store_row_moments(rounded.to(tl.float32), rows, columns, M, out_columns, column_tile, out_statistics_ptr, OUT_N)
    if out_desc is not None:
        out_desc.store([row_tile * BLOCK_M, column_tile * OUT_N], rounded)
    else:
        tl.store(out_ptr + rows.to(tl.int64)[:, None] * out_stride + columns[None, :], rounded, mask=mask)

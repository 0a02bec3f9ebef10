"""Kernel of `grouped_linear`: one small GEMM per head, for the absorbed keys and values of the last block."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import heuristics
from .launch import check_dtype, launch


@triton.jit
def grouped_linear_kernel(
    x_ptr,
    weight_ptr,
    out_ptr,
    M,
    O,
    K,
    x_row_stride,
    x_group_stride,
    out_row_stride,
    out_group_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per tile of rows, tile of columns and group.

    Args:
        x_ptr: (M, G, K).
        weight_ptr: (G, O, K), contiguous.
        out_ptr: (M, G, O).
    """
    group = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    within = tl.arange(0, BLOCK_K)
    x_ptrs = x_ptr + group * x_group_stride + rows.to(tl.int64)[:, None] * x_row_stride + within[None, :]
    weight_ptrs = weight_ptr + (group * O + columns)[:, None] * K + within[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for depth in range(0, K, BLOCK_K):
        inside = (depth + within < K)[None, :]
        x = tl.load(x_ptrs + depth, mask=(rows < M)[:, None] & inside, other=0.0)
        weight = tl.load(weight_ptrs + depth, mask=(columns < O)[:, None] & inside, other=0.0)
        acc = tl.dot(x, weight.T, acc, input_precision="ieee")
    out_ptrs = out_ptr + group * out_group_stride + rows.to(tl.int64)[:, None] * out_row_stride + columns[None, :]
    mask = (rows < M)[:, None] & (columns < O)[None, :]
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=mask)


def grouped_linear(x: Tensor, weight: Tensor, out: Tensor) -> None:
    """Launch `grouped_linear_kernel`: x (M, G, K), weight (G, O, K), out (M, G, O)."""
    check_dtype(x)
    rows, groups, depth = x.shape
    columns = weight.shape[1]
    config = heuristics.small(x.dtype, x.device)
    launch(
        grouped_linear_kernel,
        (triton.cdiv(rows, config.block_m), triton.cdiv(columns, config.block_n), groups),
        config,
        x,
        weight,
        out,
        rows,
        columns,
        depth,
        x.stride(0),
        x.stride(1),
        out.stride(0),
        out.stride(1),
        BLOCK_M=config.block_m,
        BLOCK_N=config.block_n,
        BLOCK_K=config.block_k,
    )

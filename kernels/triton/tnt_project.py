"""Kernel of `tnt_project`: grouped GEMM over the inner tokens of all blocks, in one persistent launch."""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ..device import gpu_of
from ..tuning import tnt_heuristics
from .launch import check_dtype, launch, uses_descriptors
from .tiles import load_tile, tile_position


@triton.jit
def tnt_project_kernel(
    rows_desc,
    weight_desc,
    rows_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    GROUPS,
    M,
    O,
    K,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    PROGRAMS: tl.constexpr,
    FLATTEN: tl.constexpr,
):
    """Persistent grouped GEMM: one program per multiprocessor, each computing every PROGRAMS-th tile, group by group.

    A tile may read into the next group; those results are not stored.

    Args:
        rows_desc, rows_ptr: (GROUPS · M, K); the descriptor is None where the GPU has no TMA.
        weight_desc, weight_ptr: (GROUPS · O, K), likewise.
        bias_ptr: float32 (GROUPS, O).
        out_ptr: (GROUPS, M, O).
    """
    row_tiles = tl.cdiv(M, BLOCK_M)
    column_tiles = tl.cdiv(O, BLOCK_N)
    per_group = row_tiles * column_tiles
    for tile in tl.range(tl.program_id(0), GROUPS * per_group, PROGRAMS, flatten=FLATTEN):
        group = tile // per_group
        row_tile, column_tile = tile_position(tile % per_group, row_tiles, column_tiles, GROUP_M)
        acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for depth in range(0, K, BLOCK_K):
            x = load_tile(
                rows_desc, rows_ptr, group * M + row_tile * BLOCK_M, depth, GROUPS * M, K, K, BLOCK_M, BLOCK_K
            )
            weight = load_tile(
                weight_desc, weight_ptr, group * O + column_tile * BLOCK_N, depth, GROUPS * O, K, K, BLOCK_N, BLOCK_K
            )
            acc = tl.dot(x, weight.T, acc, input_precision="ieee")
        rows = row_tile * BLOCK_M + tl.arange(0, BLOCK_M)
        columns = column_tile * BLOCK_N + tl.arange(0, BLOCK_N)
        acc += tl.load(bias_ptr + group * O + columns, mask=columns < O, other=0.0)[None, :]
        ptrs = out_ptr + (group.to(tl.int64) * M + rows)[:, None] * O + columns[None, :]
        tl.store(ptrs, acc.to(out_ptr.dtype.element_ty), mask=(rows < M)[:, None] & (columns < O)[None, :])


def tnt_project(rows: Tensor, weight: Tensor, bias: Tensor, out: Tensor, batch_invariant: bool) -> None:
    """Launch `tnt_project_kernel`: rows (G, M, K), weight (G, O, K), bias float32 (G, O), out (G, M, O)."""
    check_dtype(rows)
    groups, count, depth = rows.shape
    columns = weight.shape[1]
    config = tnt_heuristics.tnt_project(groups, count, columns, depth, rows.dtype, rows.device, batch_invariant)
    gpu = gpu_of(rows.device)
    tiles = groups * triton.cdiv(count, config.block_m) * triton.cdiv(columns, config.block_n)
    programs = min(tiles, gpu.sms)
    described = uses_descriptors(rows)
    launch(
        tnt_project_kernel,
        (programs,),
        config,
        TensorDescriptor.from_tensor(rows.flatten(0, 1), [config.block_m, config.block_k]) if described else None,
        TensorDescriptor.from_tensor(weight.flatten(0, 1), [config.block_n, config.block_k]) if described else None,
        rows,
        weight,
        bias,
        out,
        groups,
        count,
        columns,
        depth,
        BLOCK_M=config.block_m,
        BLOCK_N=config.block_n,
        BLOCK_K=config.block_k,
        GROUP_M=config.group_m,
        PROGRAMS=programs,
        FLATTEN=gpu.has_tma,
    )

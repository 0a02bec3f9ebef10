"""`tnt_project`: the rows of all blocks through a product of their own each, in one persistent launch."""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ..device import gpu_of
from ..tuning import tnt_heuristics
from .launch import check_dtype, launch
from .tiles import tile_position


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
    """One program per multiprocessor, each walking every PROGRAMS-th tile, group after group.

    rows_ptr (GROUPS · M, K), weight_ptr (GROUPS · O, K), and their descriptors, or None where the GPU has no bulk
    copies; bias_ptr float32 (GROUPS, O), out_ptr (GROUPS, M, O). A tile may read into the next group; what comes of it
    is not stored.
    """
    row_tiles = tl.cdiv(M, BLOCK_M)
    column_tiles = tl.cdiv(O, BLOCK_N)
    per_group = row_tiles * column_tiles
    for tile in tl.range(tl.program_id(0), GROUPS * per_group, PROGRAMS, flatten=FLATTEN):
        group = tile // per_group
        row_tile, column_tile = tile_position(tile % per_group, row_tiles, column_tiles, GROUP_M)
        product = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for depth in range(0, K, BLOCK_K):
            x = _tile(rows_desc, rows_ptr, group * M + row_tile * BLOCK_M, depth, GROUPS * M, K, BLOCK_M, BLOCK_K)
            weight = _tile(
                weight_desc, weight_ptr, group * O + column_tile * BLOCK_N, depth, GROUPS * O, K, BLOCK_N, BLOCK_K
            )
            product = tl.dot(x, weight.T, product, input_precision="ieee")
        rows = row_tile * BLOCK_M + tl.arange(0, BLOCK_M)
        columns = column_tile * BLOCK_N + tl.arange(0, BLOCK_N)
        product += tl.load(bias_ptr + group * O + columns, mask=columns < O, other=0.0)[None, :]
        ptrs = out_ptr + (group.to(tl.int64) * M + rows)[:, None] * O + columns[None, :]
        tl.store(ptrs, product.to(out_ptr.dtype.element_ty), mask=(rows < M)[:, None] & (columns < O)[None, :])


@triton.jit
def _tile(desc, ptr, first_row, first_column, ROWS_IN_ALL, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile of a (ROWS_IN_ALL, K) matrix, zero beyond it: by its descriptor, or by pointers where there is none."""
    if desc is not None:
        tile = desc.load([first_row, first_column])
    else:
        rows = first_row + tl.arange(0, ROWS)
        columns = first_column + tl.arange(0, COLUMNS)
        ptrs = ptr + rows.to(tl.int64)[:, None] * K + columns[None, :]
        tile = tl.load(ptrs, mask=(rows < ROWS_IN_ALL)[:, None] & (columns < K)[None, :], other=0.0)
    return tile


def tnt_project(rows: Tensor, weight: Tensor, bias: Tensor, out: Tensor, batch_invariant: bool) -> None:
    """Launches over tensors as in `tnt_ops.tnt_project`."""
    check_dtype(rows)
    groups, count, depth = rows.shape
    columns = weight.shape[1]
    tile = tnt_heuristics.tnt_project(groups, count, columns, depth, rows.dtype, rows.device, batch_invariant)
    gpu = gpu_of(rows.device)
    tiles = groups * triton.cdiv(count, tile.block_m) * triton.cdiv(columns, tile.block_n)
    programs = min(tiles, gpu.sms)
    bulk = gpu.has_tma or not gpu.arch
    launch(
        tnt_project_kernel,
        (programs,),
        tile,
        TensorDescriptor.from_tensor(rows.flatten(0, 1), [tile.block_m, tile.block_k]) if bulk else None,
        TensorDescriptor.from_tensor(weight.flatten(0, 1), [tile.block_n, tile.block_k]) if bulk else None,
        rows,
        weight,
        bias,
        out,
        groups,
        count,
        columns,
        depth,
        BLOCK_M=tile.block_m,
        BLOCK_N=tile.block_n,
        BLOCK_K=tile.block_k,
        GROUP_M=tile.group_m,
        PROGRAMS=programs,
        FLATTEN=gpu.has_tma,
    )

"""`project_words`: the rows of all blocks through a product of their own each, in one persistent launch."""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from . import tnt_tuning
from .devices import gpu_of
from .launch import launch, precision
from .tiles import tile_position


@triton.jit
def project_words_kernel(
    rows_desc,
    weight_desc,
    bias_ptr,
    out_ptr,
    GROUPS,
    M,
    O,
    K,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    PROGRAMS: tl.constexpr,
    FLATTEN: tl.constexpr,
):
    """One program per multiprocessor, each walking every PROGRAMS-th tile, group after group.

    rows_desc (GROUPS · M, K), weight_desc (GROUPS · O, K), bias_ptr float32 (GROUPS, O), out_ptr (GROUPS, M, O). A tile
    may read into the next group; what comes of it is not stored.
    """
    row_tiles = tl.cdiv(M, BLOCK_M)
    column_tiles = tl.cdiv(O, BLOCK_N)
    per_group = row_tiles * column_tiles
    for tile in tl.range(tl.program_id(0), GROUPS * per_group, PROGRAMS, flatten=FLATTEN):
        group = tile // per_group
        row_tile, column_tile = tile_position(tile % per_group, row_tiles, column_tiles, GROUP_M)
        product = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for depth in range(0, K, BLOCK_K):
            x = rows_desc.load([group * M + row_tile * BLOCK_M, depth])
            weight = weight_desc.load([group * O + column_tile * BLOCK_N, depth])
            product = tl.dot(x, weight.T, product, input_precision=PRECISION)
        rows = row_tile * BLOCK_M + tl.arange(0, BLOCK_M)
        columns = column_tile * BLOCK_N + tl.arange(0, BLOCK_N)
        product += tl.load(bias_ptr + group * O + columns, mask=columns < O, other=0.0)[None, :]
        ptrs = out_ptr + (group.to(tl.int64) * M + rows)[:, None] * O + columns[None, :]
        tl.store(ptrs, product.to(out_ptr.dtype.element_ty), mask=(rows < M)[:, None] & (columns < O)[None, :])


def project_words(rows: Tensor, weight: Tensor, bias: Tensor, out: Tensor, batch_invariant: bool, tf32: bool) -> None:
    """Launches over tensors as in `tnt_ops.project_words`."""
    groups, count, depth = rows.shape
    columns = weight.shape[1]
    tile = tnt_tuning.project_words(groups, count, columns, depth, rows.dtype, rows.device, batch_invariant)
    gpu = gpu_of(rows.device)
    tiles = groups * triton.cdiv(count, tile.block_m) * triton.cdiv(columns, tile.block_n)
    programs = min(tiles, gpu.sms)
    launch(
        project_words_kernel,
        (programs,),
        tile,
        TensorDescriptor.from_tensor(rows.flatten(0, 1), [tile.block_m, tile.block_k]),
        TensorDescriptor.from_tensor(weight.flatten(0, 1), [tile.block_n, tile.block_k]),
        bias,
        out,
        groups,
        count,
        columns,
        depth,
        PRECISION=precision(rows, tf32),
        BLOCK_M=tile.block_m,
        BLOCK_N=tile.block_n,
        BLOCK_K=tile.block_k,
        GROUP_M=tile.group_m,
        PROGRAMS=programs,
        FLATTEN=gpu.has_tma,
    )

"""`linear`: a persistent product with everything around it in its epilogue, and a split-depth form for few rows."""

import triton
import triton.language as tl
from torch import Tensor

from ..device import gpu_of
from ..reference import part_width
from ..tuning import heuristics
from .launch import check_dtype, launch, make_descriptors
from .tiles import epilogue, load_tile, tile_position


@triton.jit
def linear_kernel(
    x_desc,
    weight_desc,
    out_desc,
    x_ptr,
    weight_ptr,
    out_ptr,
    bias_ptr,
    sums_ptr,
    statistics_ptr,
    residual_ptr,
    out_statistics_ptr,
    M,
    O,
    K,
    x_stride,
    weight_stride,
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
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    PROGRAMS: tl.constexpr,
    FLATTEN: tl.constexpr,
    PDL: tl.constexpr,
):
    """One program per multiprocessor, each walking every PROGRAMS-th tile.

    x_desc (M, K), weight_desc (O, K), out_desc (M, O) or None where its rows are not aligned for bulk stores; out_ptr
    the same memory. bias_ptr, sums_ptr (O,); statistics_ptr (PARTS, 2, M); residual_ptr (M, O); out_statistics_ptr
    (tiles of columns, 2, M); all float32 but the residual. O counts columns before SwiGLU halves them. None leaves a
    part out.
    """
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    row_tiles = tl.cdiv(M, BLOCK_M)
    column_tiles = tl.cdiv(O, BLOCK_N)
    for tile in tl.range(tl.program_id(0), row_tiles * column_tiles, PROGRAMS, flatten=FLATTEN):
        row_tile, column_tile = tile_position(tile, row_tiles, column_tiles, GROUP_M)
        product = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for depth in range(0, K, BLOCK_K):
            x = load_tile(x_desc, x_ptr, row_tile * BLOCK_M, depth, M, K, x_stride, BLOCK_M, BLOCK_K)
            weight = load_tile(
                weight_desc, weight_ptr, column_tile * BLOCK_N, depth, O, K, weight_stride, BLOCK_N, BLOCK_K
            )
            product = tl.dot(x, weight.T, product, input_precision="ieee")
        epilogue(
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
            PARTS,
            WIDTH,
            ACTIVATION,
            BLOCK_M,
            BLOCK_N,
        )


@triton.jit
def split_k_linear_kernel(
    x_desc,
    weight_desc,
    out_desc,
    x_ptr,
    weight_ptr,
    out_ptr,
    bias_ptr,
    sums_ptr,
    statistics_ptr,
    residual_ptr,
    out_statistics_ptr,
    partials_ptr,
    counters_ptr,
    M,
    O,
    K,
    x_stride,
    weight_stride,
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
    BLOCK_K: tl.constexpr,
    SPLIT_K: tl.constexpr,
    PDL: tl.constexpr,
):
    """One program per tile and SPLIT_K-th part of the depth; the last to arrive adds the parts in order and finishes.

    partials_ptr: float32 (tiles, SPLIT_K, BLOCK_M, BLOCK_N). counters_ptr: int32 (tiles,), zero before and after.
    The rest as in linear_kernel. Which program comes last changes nothing in the sum.
    """
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    tile = tl.program_id(0)
    split = tl.program_id(1)
    column_tiles = tl.cdiv(O, BLOCK_N)
    row_tile = tile // column_tiles
    column_tile = tile % column_tiles
    steps = tl.cdiv(tl.cdiv(K, BLOCK_K), SPLIT_K)
    product = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for step in range(steps):
        depth = (split * steps + step) * BLOCK_K
        x = load_tile(x_desc, x_ptr, row_tile * BLOCK_M, depth, M, K, x_stride, BLOCK_M, BLOCK_K)
        weight = load_tile(weight_desc, weight_ptr, column_tile * BLOCK_N, depth, O, K, weight_stride, BLOCK_N, BLOCK_K)
        product = tl.dot(x, weight.T, product, input_precision="ieee")
    offsets = tl.arange(0, BLOCK_M)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    tile_ptr = partials_ptr + tile.to(tl.int64) * SPLIT_K * BLOCK_M * BLOCK_N
    tl.store(tile_ptr + split * BLOCK_M * BLOCK_N + offsets, product)
    tl.debug_barrier()
    arrived = tl.atomic_add(counters_ptr + tile, 1, sem="acq_rel", scope="gpu")
    if arrived == SPLIT_K - 1:
        tl.store(counters_ptr + tile, 0)
        total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for part in range(SPLIT_K):
            total += tl.load(tile_ptr + part * BLOCK_M * BLOCK_N + offsets, cache_modifier=".cg")
        epilogue(
            total,
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
            PARTS,
            WIDTH,
            ACTIVATION,
            BLOCK_M,
            BLOCK_N,
        )


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sums: Tensor | None,
    statistics: Tensor | None,
    eps: float,
    activation: str,
    residual: Tensor | None,
    out: Tensor,
    out_statistics: Tensor | None,
    partials: Tensor | None,
    counters: Tensor | None,
    batch_invariant: bool,
) -> None:
    """Launches over tensors as in `ops.linear`; the configuration is the one that `ops.linear` sized its buffers by."""
    check_dtype(x)
    (rows, depth), columns = x.shape, len(weight)
    tile = heuristics.linear(rows, columns, depth, x.dtype, x.device, batch_invariant, activation)
    parts = 1 if statistics is None else len(statistics)
    gpu = gpu_of(x.device)
    tensors = (x, weight, out, bias, sums, statistics, residual, out_statistics)
    sizes = (
        rows,
        columns,
        depth,
        x.stride(0),
        weight.stride(0),
        out.stride(0),
        0 if residual is None else residual.stride(0),
        *((0, 0, 0) if statistics is None else statistics.stride()),
        eps,
    )
    constants = {
        "PARTS": parts,
        "WIDTH": triton.next_power_of_2(depth) if parts == 1 else part_width(depth, parts),
        "ACTIVATION": activation,
        "BLOCK_M": tile.block_m,
        "BLOCK_N": tile.block_n,
        "BLOCK_K": tile.block_k,
        "PDL": tile.pdl,
    }
    descriptors = make_descriptors(x, weight, out, tile, activation)
    tiles = triton.cdiv(rows, tile.block_m) * triton.cdiv(columns, tile.block_n)
    if tile.split_k > 1:
        arguments = (*descriptors, *tensors, partials, counters, *sizes)
        launch(split_k_linear_kernel, (tiles, tile.split_k), tile, *arguments, **constants, SPLIT_K=tile.split_k)
        return
    programs = min(tiles, gpu.sms)
    launch(
        linear_kernel,
        (programs,),
        tile,
        *descriptors,
        *tensors,
        *sizes,
        **constants,
        GROUP_M=tile.group_m,
        PROGRAMS=programs,
        FLATTEN=gpu.has_tma,
    )

"""Kernels of `linear`: a persistent GEMM with a fused epilogue, and a split-K one for few rows."""

import triton
import triton.language as tl
from torch import Tensor

from ..device import gpu_of
from ..tuning import heuristics
from .launch import check_dtype, launch, make_descriptors, statistics_layout
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
    """Persistent GEMM: one program per multiprocessor, each computing every PROGRAMS-th tile.

    None leaves a part of the epilogue out. O counts columns before SwiGLU halves them.

    Args:
        x_desc, x_ptr: (M, K), row stride x_stride; the descriptor is None where the GPU has no TMA.
        weight_desc, weight_ptr: (O, K), likewise.
        out_desc, out_ptr: (M, O), likewise; the descriptor is None also where rows are not aligned for TMA.
        bias_ptr: float32 (O,).
        sums_ptr: float32 (O,), row sums of the weight, for a folded LayerNorm.
        statistics_ptr: float32 (PARTS, 2, M), row statistics of x.
        residual_ptr: (M, O), row stride residual_stride.
        out_statistics_ptr: float32 (tiles of columns, 2, M), contiguous.
    """
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()
    row_tiles = tl.cdiv(M, BLOCK_M)
    column_tiles = tl.cdiv(O, BLOCK_N)
    for tile in tl.range(tl.program_id(0), row_tiles * column_tiles, PROGRAMS, flatten=FLATTEN):
        row_tile, column_tile = tile_position(tile, row_tiles, column_tiles, GROUP_M)
        acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for depth in range(0, K, BLOCK_K):
            x = load_tile(x_desc, x_ptr, row_tile * BLOCK_M, depth, M, K, x_stride, BLOCK_M, BLOCK_K)
            weight = load_tile(
                weight_desc, weight_ptr, column_tile * BLOCK_N, depth, O, K, weight_stride, BLOCK_N, BLOCK_K
            )
            acc = tl.dot(x, weight.T, acc, input_precision="ieee")
        epilogue(
            acc,
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
    """Split-K GEMM: one program per tile and part of K; the last to arrive adds the parts and runs the epilogue.

    Parts are added in their order, so the sum does not depend on the order of arrival.

    Args:
        partials_ptr: float32 (tiles, SPLIT_K, BLOCK_M, BLOCK_N).
        counters_ptr: int32 (tiles,), zero before and after.
        The others are those of linear_kernel.
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
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for step in range(steps):
        depth = (split * steps + step) * BLOCK_K
        x = load_tile(x_desc, x_ptr, row_tile * BLOCK_M, depth, M, K, x_stride, BLOCK_M, BLOCK_K)
        weight = load_tile(weight_desc, weight_ptr, column_tile * BLOCK_N, depth, O, K, weight_stride, BLOCK_N, BLOCK_K)
        acc = tl.dot(x, weight.T, acc, input_precision="ieee")
    offsets = tl.arange(0, BLOCK_M)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    tile_ptr = partials_ptr + tile.to(tl.int64) * SPLIT_K * BLOCK_M * BLOCK_N
    tl.store(tile_ptr + split * BLOCK_M * BLOCK_N + offsets, acc)
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
    """Launch a kernel of `linear`, with the launch configuration from which `ops.linear` allocated its buffers.

    Args:
        x: (M, K), rows of any stride.
        weight: (O, K).
        bias, sums: float32 (O,), or None.
        statistics: float32 (parts, 2, M), of x, with sums; else None.
        residual, out: (M, O), or (M, O / 2) for swiglu.
        out_statistics: float32 (parts, 2, M), or None.
        partials, counters: as of split_k_linear_kernel, or None.
    """
    check_dtype(x)
    (rows, depth), columns = x.shape, len(weight)
    config = heuristics.linear(rows, columns, depth, x.dtype, x.device, batch_invariant, activation)
    strides, layout = statistics_layout(statistics, depth)
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
        *strides,
        eps,
    )
    constants = {
        **layout,
        "ACTIVATION": activation,
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
        "BLOCK_K": config.block_k,
        "PDL": config.pdl,
    }
    descriptors = make_descriptors(x, weight, out, config, activation)
    tiles = triton.cdiv(rows, config.block_m) * triton.cdiv(columns, config.block_n)
    if config.split_k > 1:
        arguments = (*descriptors, *tensors, partials, counters, *sizes)
        launch(split_k_linear_kernel, (tiles, config.split_k), config, *arguments, **constants, SPLIT_K=config.split_k)
        return
    programs = min(tiles, gpu.sms)
    launch(
        linear_kernel,
        (programs,),
        config,
        *descriptors,
        *tensors,
        *sizes,
        **constants,
        GROUP_M=config.group_m,
        PROGRAMS=programs,
        FLATTEN=gpu.has_tma,
    )

"""Kernel of `patch_embed`: projection of uint8 pixels, position table and prefix tokens in one launch."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import heuristics
from ..tuning.heuristics import next_power_of_two
from .launch import check_dtype, launch
from .tiles import store_row_statistics


@triton.jit
def patch_embed_kernel(
    pixels_ptr,
    weight_ptr,
    table_ptr,
    out_ptr,
    out_statistics_ptr,
    M,
    O,
    tokens,
    grid_columns,
    image_stride,
    row_stride,
    PREFIX: tl.constexpr,
    PATCH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per tile of (tokens of all images, channels); one step of the GEMM per line of a patch.

    A line of a patch is 3 · PATCH bytes, padded to BLOCK_K.

    Args:
        pixels_ptr: uint8 (B, H, W, 3).
        weight_ptr: (O, PATCH² · 3).
        table_ptr: float32 (tokens, O).
        out_ptr: (M, O), M = B · tokens.
        out_statistics_ptr: float32 (tiles of columns, 2, M), or None.
        grid_columns: patches per row of the image.
        image_stride, row_stride: of pixels, in bytes.
    """
    LINE: tl.constexpr = 3 * PATCH
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    within = tl.arange(0, BLOCK_K)
    token = rows % tokens
    patch = token - PREFIX
    is_patch = (patch >= 0) & (rows < M)
    corner = (rows // tokens).to(tl.int64) * image_stride + patch // grid_columns * PATCH * row_stride
    corner += patch % grid_columns * LINE
    pixel_ptrs = pixels_ptr + corner[:, None] + within[None, :]
    weight_ptrs = weight_ptr + columns.to(tl.int64)[:, None] * (PATCH * LINE) + within[None, :]
    pixel_mask = is_patch[:, None] & (within < LINE)[None, :]
    weight_mask = (columns < O)[:, None] & (within < LINE)[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for line in range(PATCH):
        pixels = tl.load(pixel_ptrs + line * row_stride, mask=pixel_mask, other=0)
        weight = tl.load(weight_ptrs + line * LINE, mask=weight_mask, other=0.0)
        values = pixels.to(tl.float32).to(weight.dtype)
        acc = tl.dot(values, weight.T, acc, input_precision="ieee")
    mask = (rows < M)[:, None] & (columns < O)[None, :]
    acc += tl.load(table_ptr + token[:, None] * O + columns[None, :], mask=mask, other=0.0)
    rounded = acc.to(out_ptr.dtype.element_ty)
    if out_statistics_ptr is not None:
        store_row_statistics(rounded.to(tl.float32), rows, columns, M, O, tl.program_id(1), out_statistics_ptr, BLOCK_N)
    tl.store(out_ptr + rows.to(tl.int64)[:, None] * O + columns[None, :], rounded, mask=mask)


def patch_embed(
    pixels: Tensor,
    weight: Tensor,
    table: Tensor,
    patch_size: int,
    prefix: int,
    out: Tensor,
    statistics: Tensor | None,
    batch_invariant: bool,
) -> None:
    """Launch `patch_embed_kernel` on the tensors of `ops.patch_embed`.

    Args:
        pixels: uint8 (B, H, W, 3).
        weight: (D, patch_size² · 3).
        table: float32 (N, D).
        out: (B, N, D).
        statistics: float32 (parts, 2, B · N), or None.
    """
    check_dtype(weight)
    batch, tokens, dim = out.shape
    pixels = pixels.contiguous()
    config = heuristics.patch_embed(batch * tokens, dim, weight.dtype, pixels.device, batch_invariant)
    launch(
        patch_embed_kernel,
        (triton.cdiv(batch * tokens, config.block_m), triton.cdiv(dim, config.block_n)),
        config,
        pixels,
        weight,
        table,
        out,
        statistics,
        batch * tokens,
        dim,
        tokens,
        pixels.shape[2] // patch_size,
        pixels.stride(0),
        pixels.stride(1),
        PREFIX=prefix,
        PATCH=patch_size,
        BLOCK_M=config.block_m,
        BLOCK_N=config.block_n,
        BLOCK_K=next_power_of_two(3 * patch_size, 16),
    )

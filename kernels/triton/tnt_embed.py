"""Kernel of `tnt_embed` for windows larger than their patch: uint8 pixels to inner tokens, one GEMM per patch."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning import heuristics
from ..tuning.heuristics import next_power_of_two
from .launch import check_dtype, launch


@triton.jit
def tnt_embed_kernel(
    pixels_ptr,
    weight_ptr,
    table_ptr,
    out_ptr,
    M,
    O,
    height,
    width,
    SIZE: tl.constexpr,
    MARGIN: tl.constexpr,
    WINDOW: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per tile of (patches of all images, channels); one step of the GEMM per line of a window.

    Pixels outside the image are read as zero bytes; the table compensates for it.

    Args:
        pixels_ptr: uint8 (B, height, width, 3).
        weight_ptr: (O, WINDOW² · 3).
        table_ptr: float32 (P, O).
        out_ptr: (M, O), M = B · P.
    """
    LINE: tl.constexpr = 3 * WINDOW
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    within = tl.arange(0, BLOCK_K)
    across = width // SIZE
    patches = height // SIZE * across
    patch = rows % patches
    top = patch // across * SIZE - MARGIN
    column = (patch % across * SIZE - MARGIN)[:, None] * 3 + within[None, :]
    in_line = (rows < M)[:, None] & (within < LINE)[None, :] & (column >= 0) & (column < 3 * width)
    image_ptrs = pixels_ptr + (rows // patches).to(tl.int64)[:, None] * height * width * 3 + column
    weight_ptrs = weight_ptr + columns.to(tl.int64)[:, None] * (WINDOW * LINE) + within[None, :]
    weight_mask = (columns < O)[:, None] & (within < LINE)[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for line in range(WINDOW):
        y = top + line
        mask = in_line & ((y >= 0) & (y < height))[:, None]
        pixels = tl.load(image_ptrs + (y * width * 3)[:, None], mask=mask, other=0)
        weight = tl.load(weight_ptrs + line * LINE, mask=weight_mask, other=0.0)
        acc = tl.dot(pixels.to(tl.float32).to(weight.dtype), weight.T, acc, input_precision="ieee")
    mask = (rows < M)[:, None] & (columns < O)[None, :]
    acc += tl.load(table_ptr + patch[:, None] * O + columns[None, :], mask=mask, other=0.0)
    tl.store(out_ptr + rows.to(tl.int64)[:, None] * O + columns[None, :], acc.to(out_ptr.dtype.element_ty), mask=mask)


def tnt_embed(
    pixels: Tensor,
    weight: Tensor,
    table: Tensor,
    patch_size: int,
    margin: int,
    window: int,
    out: Tensor,
    batch_invariant: bool,
) -> None:
    """Launch `tnt_embed_kernel` on the tensors of `tnt_ops.tnt_embed`.

    Args:
        pixels: uint8 (B, H, W, 3).
        weight: (W · d, window² · 3).
        table: float32 (P, W · d).
        out: (B, P, W · d).
    """
    check_dtype(weight)
    images, patches, channels = out.shape
    config = heuristics.patch_embed(images * patches, channels, weight.dtype, pixels.device, batch_invariant)
    launch(
        tnt_embed_kernel,
        (triton.cdiv(images * patches, config.block_m), triton.cdiv(channels, config.block_n)),
        config,
        pixels.contiguous(),
        weight,
        table,
        out,
        images * patches,
        channels,
        pixels.shape[1],
        pixels.shape[2],
        SIZE=patch_size,
        MARGIN=margin,
        WINDOW=window,
        BLOCK_M=config.block_m,
        BLOCK_N=config.block_n,
        BLOCK_K=next_power_of_two(3 * window, 16),
    )

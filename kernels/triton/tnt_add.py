"""Kernel of `tnt_add`: adds a block's projected inner tokens, through their LayerNorm, to the patch tokens."""

import triton
import triton.language as tl
from torch import Tensor

from ..tuning.heuristics import LaunchConfig, next_power_of_two
from .launch import launch
from .tiles import store_row_statistics


@triton.jit
def tnt_add_kernel(
    x_ptr,
    rows_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    statistics_ptr,
    M,
    D,
    tokens,
    prefix,
    x_image_stride,
    eps,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """BLOCK_M tokens per program, each as a whole.

    Args:
        x_ptr: (B, tokens, D), or (tokens, D) where x_image_stride is 0.
        rows_ptr: (B, tokens - prefix, D).
        weight_ptr, bias_ptr: float32 (D,), or None: no LayerNorm.
        out_ptr: (M, D), M = B · tokens.
        statistics_ptr: float32 (1, 2, M), or None.
    """
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channels = tl.arange(0, BLOCK_D)
    image = (rows // tokens).to(tl.int64)
    token = rows % tokens
    mask = (rows < M)[:, None] & (channels < D)[None, :]
    patch_mask = mask & (token >= prefix)[:, None]
    row_ptrs = rows_ptr + (image * (tokens - prefix) + token - prefix)[:, None] * D + channels[None, :]
    addition = tl.load(row_ptrs, mask=patch_mask, other=0.0).to(tl.float32)
    if weight_ptr is not None:
        mean = tl.sum(addition, axis=1) / D
        deviations = tl.where(patch_mask, addition - mean[:, None], 0.0)
        rstd = tl.rsqrt(tl.sum(deviations * deviations, axis=1) / D + eps)
        weight = tl.load(weight_ptr + channels, mask=channels < D, other=0.0)
        bias = tl.load(bias_ptr + channels, mask=channels < D, other=0.0)
        addition = tl.where(patch_mask, deviations * rstd[:, None] * weight[None, :] + bias[None, :], 0.0)
    x_ptrs = x_ptr + image[:, None] * x_image_stride + token[:, None] * D + channels[None, :]
    value = tl.load(x_ptrs, mask=mask, other=0.0).to(tl.float32) + addition
    rounded = value.to(out_ptr.dtype.element_ty)
    if statistics_ptr is not None:
        part = tl.program_id(0) * 0
        store_row_statistics(rounded.to(tl.float32), rows, channels, M, D, part, statistics_ptr, BLOCK_D)
    tl.store(out_ptr + rows.to(tl.int64)[:, None] * D + channels[None, :], rounded, mask=mask)


def tnt_add(
    x: Tensor,
    rows: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    out: Tensor,
    statistics: Tensor | None,
) -> None:
    """Launch `tnt_add_kernel` on the tensors of `tnt_ops.tnt_add`.

    Args:
        x: (B, N, D) tokens, or a table (N, D).
        rows: (B, P, D).
        weight, bias: float32 (D,), or None: no LayerNorm.
        out: (B, N, D).
        statistics: float32 (1, 2, B · N), or None.
    """
    images, tokens, dim = out.shape
    block_d = next_power_of_two(dim)
    block_m = max(1, min(8, 4096 // block_d))
    launch(
        tnt_add_kernel,
        (triton.cdiv(images * tokens, block_m),),
        LaunchConfig(block_m, block_d, num_warps=4, num_stages=1),
        x.contiguous(),
        rows,
        weight,
        bias,
        out,
        statistics,
        images * tokens,
        dim,
        tokens,
        tokens - rows.shape[1],
        0 if x.ndim == 2 else tokens * dim,
        eps,
        BLOCK_M=block_m,
        BLOCK_D=block_d,
    )

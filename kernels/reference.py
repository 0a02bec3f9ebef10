"""The meaning of every operator in plain PyTorch: what the kernels are tested against and what a CPU runs."""

import torch
from torch import Tensor


def normalise(pixels: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """(pixels / 255 - mean) / std, channels first.

    Args:
        pixels: uint8 (B, H, W, 3).
        mean, std: float32 (3,), in units of the pixel range 0..1.
        dtype: of the result; the arithmetic is float32 (float64 for a float64 result).

    Returns:
        (B, 3, H, W) of `dtype`, contiguous.
    """
    wide = torch.promote_types(dtype, torch.float32)
    x = pixels.permute(0, 3, 1, 2).to(wide, memory_format=torch.contiguous_format) / 255
    return ((x - mean.to(wide)[:, None, None]) / std.to(wide)[:, None, None]).to(dtype)

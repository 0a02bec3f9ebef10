"""The operators before and after a network: an image's resize and crop, and the likeliest classes of its logits."""

import torch
from torch import Tensor

from . import checks, library, reference
from .options import DEFAULT, Options
from .resampling import taps


def resize_crop(
    image: Tensor,
    resized: tuple[int, int],
    corner: tuple[int, int],
    size: int,
    interpolation: str = "bicubic",
    *,
    options: Options = DEFAULT,
) -> Tensor:
    """Pillow's antialiased resize and a crop from it, byte for byte, computing only what the crop shows.

    Args:
        image: uint8 (H, W, 3).
        resized: (width, height) that the whole image would get.
        corner: (left, top) of the crop in it.
        size: side of the crop.
        interpolation: `bicubic` or `bilinear`.

    Returns:
        uint8 (size, size, 3).
    """
    checks.shape("image", image, "H", "W", 3)
    checks.dtype("image", image, torch.uint8)
    for side, length, start in zip(("width", "height"), resized, corner, strict=True):
        if start < 0 or start + size > length:
            raise ValueError(f"a crop of {size} from {start} does not lie within the resized {side} of {length}")
    height, width, _ = image.shape
    across, weights_across = (x.to(image.device) for x in taps(width, resized[0], corner[0], size, interpolation))
    down, weights_down = taps(height, resized[1], corner[1], size, interpolation)
    first, last = int(down[0]), min(height, int(down[-1]) + weights_down.shape[1])
    down, weights_down = down.to(image.device), weights_down.to(image.device)
    if not options.uses_triton(image):
        lines = reference.resize_pass(image, across, weights_across, False, first, last - first)
        return reference.resize_pass(lines, down, weights_down, True, first, size)
    lines = torch.empty((last - first, size, 3), dtype=torch.uint8, device=image.device)
    out = torch.empty((size, size, 3), dtype=torch.uint8, device=image.device)
    library.resize_pass(image.contiguous(), across, weights_across, False, first, lines)
    library.resize_pass(lines, down, weights_down, True, first, out)
    return out


def top_k(logits: Tensor, k: int, *, options: Options = DEFAULT) -> tuple[Tensor, Tensor]:
    """Softmax, then the k likeliest classes, the lower index first among equals: (B, C) -> float32 and int64 (B, k)."""
    checks.shape("logits", logits, "B", "C")
    checks.dtype("logits", logits, *checks.FLOATS)
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"k ({k}) must be between 1 and the number of classes ({logits.shape[1]})")
    if not options.uses_triton(logits):
        return reference.top_k(logits, k)
    scores = torch.empty((len(logits), k), dtype=torch.float32, device=logits.device)
    indices = torch.empty((len(logits), k), dtype=torch.int64, device=logits.device)
    library.top_k(logits, scores, indices)
    return scores, indices

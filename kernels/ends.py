"""The operators before and after a network: an image's resize and crop, and the likeliest classes of its logits."""

import torch
from torch import Tensor

from . import checks, library, reference
from .options import DEFAULT, Options
from .resampling import taps, vertical_first


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
    across = taps(width, resized[0], corner[0], size, interpolation)
    down = taps(height, resized[1], corner[1], size, interpolation)
    if vertical_first((width, height), resized):
        return _pass(_pass(image, down, True, 0, size, options), across, False, 0, size, options)
    first, last = int(down[0][0]), min(height, int(down[0][-1]) + down[1].shape[1])
    lines = _pass(image, across, False, first, last - first, options)
    return _pass(lines, down, True, first, size, options)


def _pass(
    image: Tensor, taps: tuple[Tensor, Tensor], vertical: bool, first: int, count: int, options: Options
) -> Tensor:
    """As `reference.resize_pass`, by the chosen implementation."""
    starts, weights = (x.to(image.device) for x in taps)
    if not options.uses_triton(image):
        return reference.resize_pass(image, starts, weights, vertical, first, count)
    out = torch.empty((count, image.shape[1] if vertical else len(starts), 3), dtype=torch.uint8, device=image.device)
    library.resize_pass(image.contiguous(), starts, weights, vertical, first, out)
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

"""The operator before a network: resize and crop of its images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import checks, custom_ops, reference
from .options import DEFAULT, Options
from .resize_plan import Crop, Plan, plan


def resize_crop(
    packed: Tensor, crops: Sequence[Crop], size: int, interpolation: str = "bicubic", *, options: Options = DEFAULT
) -> Tensor:
    """Pillow's antialiased resize and a crop from it of every image, byte for byte, computing only what the crops show.

    An image whose resized size is its own, cropped from its corner, stays as it is.

    Args:
        packed: uint8 (n,), the images (height, width, 3) one after another.
        crops: what becomes of each.
        size: side of the crops.
        interpolation: `bicubic` or `bilinear`.

    Returns:
        uint8 (B, size, size, 3).

    Raises:
        ValueError: as `resize_plan.plan`; or `packed` has another type or length.
    """
    made = plan(crops, size, interpolation)
    scratch = torch.empty(made.scratch, dtype=torch.uint8, device=packed.device)
    out = torch.empty(len(crops), size, size, 3, dtype=torch.uint8, device=packed.device)
    resize_planned(packed, made, torch.from_numpy(made.words).to(packed.device), scratch, out, options=options)
    return out


def resize_planned(
    packed: Tensor, made: Plan, words: Tensor, scratch: Tensor, out: Tensor, *, options: Options = DEFAULT
) -> None:
    """As `resize_crop`, into `out`, with what it takes on the device already: two launches.

    Args:
        words: the plan's.
        scratch: uint8, at least the plan's number of bytes.
        out: uint8 (B, size, size, 3), contiguous.
    """
    checks.shape("packed", packed, made.bytes)
    checks.dtype("packed", packed, torch.uint8)
    if not options.uses_triton(packed):
        out.copy_(reference.resize_crop(packed, made.crops, made.size, made.interpolation))
        return
    for source, (programs, count), target in zip((packed, scratch), made.programs, (scratch, out), strict=True):
        custom_ops.resize_pass(source, words, programs, count, made.size, target)

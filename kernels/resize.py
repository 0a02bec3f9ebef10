"""Resize and crop, the operator before a network's patch embedding."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import checks, custom_ops, reference
from .options import DEFAULT, Options
from .resize_plan import Crop, ResizePlan, plan_resize


def resize_crop(
    packed: Tensor, crops: Sequence[Crop], size: int, interpolation: str = "bicubic", *, options: Options = DEFAULT
) -> Tensor:
    """Pillow's antialiased resize and a square crop of every image, byte for byte, computing only what the crops show.

    An image whose resized size is its own, cropped from its corner, is copied unchanged.

    Args:
        packed: uint8 (n,), the images (height, width, 3) one after another.
        crops: the resize and crop of each image.
        size: side of the crops, in pixels.
        interpolation: `bicubic` or `bilinear`.

    Returns:
        uint8 (B, size, size, 3).

    Raises:
        ValueError: as `plan_resize`; or `packed` has another dtype or length.
    """
    plan = plan_resize(crops, size, interpolation)
    scratch = torch.empty(plan.scratch, dtype=torch.uint8, device=packed.device)
    out = torch.empty(len(crops), size, size, 3, dtype=torch.uint8, device=packed.device)
    run_resize_plan(packed, plan, torch.from_numpy(plan.metadata).to(packed.device), scratch, out, options=options)
    return out


def run_resize_plan(
    packed: Tensor, plan: ResizePlan, metadata: Tensor, scratch: Tensor, out: Tensor, *, options: Options = DEFAULT
) -> None:
    """Resize and crop into `out` with buffers that are on the device already: two launches.

    Args:
        packed: uint8 (n,), the images (height, width, 3) one after another.
        metadata: int32, the plan's.
        scratch: uint8, at least the plan's number of bytes.
        out: uint8 (B, size, size, 3), contiguous.

    Raises:
        ValueError: `packed` has another dtype or length than the plan's images.
    """
    checks.shape("packed", packed, plan.bytes)
    checks.dtype("packed", packed, torch.uint8)
    if not options.uses_triton(packed):
        out.copy_(reference.resize_crop(packed, plan.crops, plan.size, plan.interpolation))
        return
    for source, (programs, count), target in zip((packed, scratch), plan.grids, (scratch, out), strict=True):
        custom_ops.resize_pass(source, metadata, programs, count, plan.size, target)

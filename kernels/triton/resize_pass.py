"""Kernel of `resize_pass`: one of Pillow's two integer passes over bytes, for a batch of images of any sizes."""

import triton
import triton.language as tl
from torch import Tensor

from ..resize_plan import BLOCK
from ..tuning.heuristics import LaunchConfig
from .launch import launch

_UNSPECIALIZED = ("source_ptr", "metadata_ptr", "out_ptr", "programs", "size")


@triton.jit(do_not_specialize=_UNSPECIALIZED, do_not_specialize_on_alignment=_UNSPECIALIZED)
def resize_pass_kernel(source_ptr, metadata_ptr, out_ptr, programs, size, BLOCK: tl.constexpr):
    """One program per BLOCK output bytes of an image. Nothing is specialised: all batches share one compiled kernel.

    Args:
        source_ptr, out_ptr: uint8, the pass's input and output.
        metadata_ptr: int32, the `metadata` of a ResizePlan.
        programs: offset in it of the pass's program list.
        size: columns of a tap table.
    """
    program = tl.program_id(0)
    fields = metadata_ptr + tl.load(metadata_ptr + programs + program)  # PassFields
    source = source_ptr + tl.load(fields).to(tl.int64)
    target = out_ptr + tl.load(fields + 1).to(tl.int64)
    total, lanes, pitch = tl.load(fields + 2), tl.load(fields + 3), tl.load(fields + 4)
    table, taps, last = metadata_ptr + tl.load(fields + 5), tl.load(fields + 6), tl.load(fields + 7)
    vertical = tl.load(fields + 8) != 0
    index = (program - tl.load(fields + 9)) * BLOCK + tl.arange(0, BLOCK)
    inside = index < total
    line, lane = index // lanes, index % lanes
    entry = table + tl.where(vertical, line, lane // 3)
    base = tl.where(vertical, lane, line * pitch + lane % 3)
    step = tl.where(vertical, pitch, 3)
    start = tl.load(entry, mask=inside, other=0)
    acc = tl.full((BLOCK,), 1 << 21, tl.int32)
    for tap in range(taps):
        weight = tl.load(entry + (1 + tap) * size, mask=inside, other=0)
        pixel = tl.load(source + (base + tl.minimum(start + tap, last) * step), mask=inside, other=0)
        acc += weight * pixel.to(tl.int32)
    value = tl.minimum(tl.maximum(acc >> 22, 0), 255)
    tl.store(target + index, value.to(tl.uint8), mask=inside)


def resize_pass(source: Tensor, metadata: Tensor, programs: int, count: int, size: int, out: Tensor) -> None:
    """Launch one pass of a ResizePlan.

    Args:
        source, out: uint8, the pass's input and output.
        metadata: int32 (n,), the plan's.
        programs, count: offset in it of the pass's program list, and its length.
        size: side of the crops, in pixels.
    """
    config = LaunchConfig(1, BLOCK, num_warps=4, num_stages=1)
    launch(resize_pass_kernel, (count,), config, source, metadata, out, programs, size, BLOCK=config.block_n)

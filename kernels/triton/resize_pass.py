"""`resize_pass`: one of Pillow's two integer passes over bytes, for a batch of images of any sizes in one launch."""

import triton
import triton.language as tl
from torch import Tensor

from ..resize_plan import BLOCK
from ..tuning.heuristics import Tile
from .launch import launch

_GIVEN = ("source_ptr", "words_ptr", "out_ptr", "programs", "size")


@triton.jit(do_not_specialize=_GIVEN, do_not_specialize_on_alignment=_GIVEN)
def resize_pass_kernel(source_ptr, words_ptr, out_ptr, programs, size, BLOCK: tl.constexpr):
    """One program per BLOCK bytes of an image's result.

    source_ptr, out_ptr: uint8. words_ptr: int32, a `resize_plan.Plan`'s; from `programs` on, where each program finds
    its image's fields. size: columns of a table. Nothing is specialised: all batches share one compiled kernel.
    """
    program = tl.program_id(0)
    fields = words_ptr + tl.load(words_ptr + programs + program)
    source = source_ptr + tl.load(fields).to(tl.int64)
    target = out_ptr + tl.load(fields + 1).to(tl.int64)
    total, lanes, pitch = tl.load(fields + 2), tl.load(fields + 3), tl.load(fields + 4)
    table, taps, last = words_ptr + tl.load(fields + 5), tl.load(fields + 6), tl.load(fields + 7)
    vertical = tl.load(fields + 8) != 0
    index = (program - tl.load(fields + 9)) * BLOCK + tl.arange(0, BLOCK)
    inside = index < total
    line, lane = index // lanes, index % lanes
    entry = table + tl.where(vertical, line, lane // 3)
    fixed = tl.where(vertical, lane, line * pitch + lane % 3)
    step = tl.where(vertical, pitch, 3)
    start = tl.load(entry, mask=inside, other=0)
    sums = tl.full((BLOCK,), 1 << 21, tl.int32)
    for tap in range(taps):
        weight = tl.load(entry + (1 + tap) * size, mask=inside, other=0)
        pixel = tl.load(source + (fixed + tl.minimum(start + tap, last) * step), mask=inside, other=0)
        sums += weight * pixel.to(tl.int32)
    value = tl.minimum(tl.maximum(sums >> 22, 0), 255)
    tl.store(target + index, value.to(tl.uint8), mask=inside)


def resize_pass(source: Tensor, words: Tensor, programs: int, count: int, size: int, out: Tensor) -> None:
    """Launches the `count` programs that a plan's words list from `programs` on; all tensors are flat."""
    tile = Tile(1, BLOCK, warps=4, stages=1)
    launch(resize_pass_kernel, (count,), tile, source, words, out, programs, size, BLOCK=tile.block_n)

"""`resize_pass`: one of Pillow's two integer passes over bytes."""

import triton
import triton.language as tl
from torch import Tensor

from .launch import launch
from .tuning import Tile


@triton.jit
def resize_pass_kernel(
    image_ptr,
    starts_ptr,
    taps_ptr,
    out_ptr,
    lanes,
    image_lines,
    image_lanes,
    first,
    line_stride,
    TAPS: tl.constexpr,
    VERTICAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per line of the result and BLOCK of its `lanes` bytes (pixels times 3).

    image_ptr: uint8, `image_lines` of `image_lanes` bytes. starts_ptr (count,), taps_ptr (count, TAPS): int32, for each
    column of the result, or for each line where VERTICAL. first: as in `reference.resize_pass`.
    """
    line = tl.program_id(0)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < lanes
    total = tl.full((BLOCK,), 1 << 21, tl.int32)
    if VERTICAL:
        start = tl.load(starts_ptr + line)
        for tap in range(TAPS):
            weight = tl.load(taps_ptr + line * TAPS + tap)
            source = tl.minimum(start - first + tap, image_lines - 1).to(tl.int64) * line_stride
            pixels = tl.load(image_ptr + source + lane, mask=inside, other=0)
            total += weight * pixels.to(tl.int32)
    else:
        column = lane // 3
        start = tl.load(starts_ptr + column, mask=inside, other=0)
        source = (line + first).to(tl.int64) * line_stride
        for tap in range(TAPS):
            weight = tl.load(taps_ptr + column * TAPS + tap, mask=inside, other=0)
            offset = (start + tap) * 3 + lane % 3
            pixels = tl.load(image_ptr + source + offset, mask=inside & (offset < image_lanes), other=0)
            total += weight * pixels.to(tl.int32)
    value = tl.minimum(tl.maximum(total >> 22, 0), 255)
    tl.store(out_ptr + line.to(tl.int64) * lanes + lane, value.to(tl.uint8), mask=inside)


def resize_pass(image: Tensor, starts: Tensor, taps: Tensor, vertical: bool, first: int, out: Tensor) -> None:
    """Launches over uint8 lines: image (lines, width, 3), out (lines, width, 3)."""
    lines, lanes = out.shape[0], out.shape[1] * 3
    tile = Tile(1, 256, warps=4, stages=1)
    launch(
        resize_pass_kernel,
        (lines, triton.cdiv(lanes, tile.block_n)),
        tile,
        image,
        starts,
        taps,
        out,
        lanes,
        image.shape[0],
        image.shape[1] * 3,
        first,
        image.stride(0),
        TAPS=taps.shape[1],
        VERTICAL=vertical,
        BLOCK=tile.block_n,
    )

"""Resize plan of a batch of images of any sizes: the kernel's metadata as one array of integers. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .resampling import taps, vertical_first

BLOCK = 1024
"""Output bytes per program."""
MAX_BYTES = 2**31 - 1
"""Limit on the bytes of a batch's images, and on the scratch between the two passes: offsets have 32 bits."""
Grids = tuple[tuple[int, int], tuple[int, int]]


class Crop(NamedTuple):
    """Resize of one image, and the square that is cropped from the result.

    Attributes:
        source: (width, height) of the image.
        resized: (width, height) after the resize.
        corner: (left, top) of the square within the resized image.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    corner: tuple[int, int]

    @property
    def bytes(self) -> int:
        """Bytes of the image."""
        return self.source[0] * self.source[1] * 3


@dataclass(frozen=True, slots=True, eq=False)
class ResizePlan:
    """Both passes over a batch of packed images, computing only the pixels that the crops show.

    Attributes:
        crops: of the images, in their order.
        size: side of the crops, in pixels.
        interpolation: `bicubic` or `bilinear`.
        metadata: int32 (n,): the PassFields of every image, first pass, then second; the tap tables; for each program
            of the first pass, then of the second, the offset of its image's PassFields.
        grids: for each pass, the offset of its program list in `metadata`, and its number of programs.
        bytes: of the images.
        scratch: bytes between the passes.
    """

    crops: tuple[Crop, ...]
    size: int
    interpolation: str
    metadata: NDArray[np.int32]
    grids: Grids
    bytes: int
    scratch: int


class PassFields(NamedTuple):
    """Metadata of one image in one pass, in the kernel's order.

    Output byte i lies in line i // lanes. Taps are `pitch` bytes apart in a vertical pass, 3 in a horizontal one.

    Attributes:
        source, target: byte offsets of the input and the output.
        total: output bytes.
        lanes: output bytes per line.
        pitch: input bytes per line.
        table: offset of the tap table in the metadata.
        taps: weights per output pixel.
        last: largest source pixel that a tap may read.
        vertical: 1 for a vertical pass, 0 for a horizontal one.
        first_program: index of the image's first program within the pass.
    """

    source: int
    target: int
    total: int
    lanes: int
    pitch: int
    table: int
    taps: int
    last: int
    vertical: int
    first_program: int = 0


class _Side(NamedTuple):
    """Taps along one side of an image: the range of source pixels, the table's offset and its number of taps."""

    first: int
    stop: int
    table: int
    taps: int

    @property
    def fields(self) -> tuple[int, int, int]:
        """The fields `table`, `taps` and `last` of PassFields."""
        return self.table, self.taps, self.stop - 1


class _TapTables:
    """Tap tables one after another, equal ones stored once."""

    def __init__(self, start: int) -> None:
        self.tables: list[NDArray[np.int32]] = []
        self.end = start
        self._sides: dict[tuple[int, int, int], _Side] = {}

    def side(self, source: int, target: int, first: int, count: int, interpolation: str) -> _Side:
        key = source, target, first
        if key not in self._sides:
            side = taps(source, target, first, count, interpolation)
            self._sides[key] = _Side(side.first, side.stop, self.end, len(side.table) - 1)
            self.tables.append(side.table.reshape(-1))
            self.end += side.table.size
        return self._sides[key]


def plan_resize(crops: Sequence[Crop], size: int, interpolation: str) -> ResizePlan:
    """Plan the resize of packed images to squares of `size` pixels.

    Args:
        crops: one for each image, in the order in which they are packed.
        size: side of the squares, in pixels.
        interpolation: `bicubic` or `bilinear`.

    Raises:
        ValueError: no image, a crop that does not lie within its image, another interpolation, or too many bytes.
    """
    if not crops:
        raise ValueError("there must be at least one image")
    tables = _TapTables(2 * len(crops) * len(PassFields._fields))
    rows: list[tuple[PassFields, PassFields]] = []
    source = scratch = target = 0
    for crop in crops:
        check_crop(crop, size)
        rows.append(_passes(crop, size, interpolation, tables, (source, scratch, target)))
        source, scratch, target = source + crop.bytes, scratch + rows[-1][0].total, target + size * size * 3
    if max(source, scratch, target) > MAX_BYTES:
        raise ValueError(f"{source} bytes of images, {scratch} between the passes: no more than {MAX_BYTES} fit")
    metadata, grids = _pack(rows, tables)
    return ResizePlan(tuple(crops), size, interpolation, metadata, grids, source, scratch)


def check_crop(crop: Crop, size: int) -> None:
    """Check that the square lies within the resized image.

    Raises:
        ValueError: it does not.
    """
    for side, length, start in zip(("width", "height"), crop.resized, crop.corner, strict=True):
        if start < 0 or start + size > length:
            raise ValueError(f"a crop of {size} from {start} does not lie within the resized {side} of {length}")


def _passes(
    crop: Crop, size: int, interpolation: str, tables: _TapTables, offsets: tuple[int, int, int]
) -> tuple[PassFields, PassFields]:
    """Fields of both passes over an image. `offsets`: in bytes, of the image, its scratch and its result."""
    (width, height), resized, (left, top) = crop
    source, scratch, target = offsets
    horizontal = tables.side(width, resized[0], left, size, interpolation)
    vertical = tables.side(height, resized[1], top, size, interpolation)
    line = size * 3
    if vertical_first(crop.source, resized):
        skipped, lanes = horizontal.first * 3, (horizontal.stop - horizontal.first) * 3
        return (
            PassFields(source + skipped, scratch, size * lanes, lanes, width * 3, *vertical.fields, 1),
            PassFields(scratch - skipped, target, size * line, line, lanes, *horizontal.fields, 0),
        )
    lines = vertical.stop - vertical.first
    return (
        PassFields(source + vertical.first * width * 3, scratch, lines * line, line, width * 3, *horizontal.fields, 0),
        PassFields(scratch - vertical.first * line, target, size * line, line, line, *vertical.fields, 1),
    )


def _pack(rows: list[tuple[PassFields, PassFields]], tables: _TapTables) -> tuple[NDArray[np.int32], Grids]:
    """The plan's `metadata` and `grids`."""
    fields = np.array(list(zip(*rows, strict=True)), np.int32)  # (2, B, fields)
    first, second = (_program_list(fields, index) for index in range(2))
    grids = ((tables.end, len(first)), (tables.end + len(first), len(second)))
    return np.concatenate([fields.reshape(-1), *tables.tables, first, second]), grids


def _program_list(fields: NDArray[np.int32], index: int) -> NDArray[np.int32]:
    """For each program of a pass, the offset of its image's fields; fills in the field `first_program`."""
    _, batch, width = fields.shape
    counts = -(-fields[index, :, PassFields._fields.index("total")] // BLOCK)
    fields[index, :, PassFields._fields.index("first_program")] = np.cumsum(counts) - counts
    starts = (index * batch + np.arange(batch, dtype=np.int32)) * width
    return np.repeat(starts.astype(np.int32), counts)

"""What `resize_crop` does with a batch of images of any sizes, as numbers that reach the GPU in one piece.

Host side, no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .resampling import taps, vertical_first

BLOCK = 1024
"""Bytes of a result that one program makes."""
MOST_BYTES = 2**31 - 1
"""Of a batch's images, and of what lies between the two passes over them: offsets have 32 bits."""


Programs = tuple[tuple[int, int], tuple[int, int]]


class Crop(NamedTuple):
    """What becomes of an image: resized, and a square from `corner` on kept.

    `source`, `resized`: (width, height). `corner`: (left, top) in the resized one.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    corner: tuple[int, int]

    @property
    def bytes(self) -> int:
        """Of the image."""
        return self.source[0] * self.source[1] * 3


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Squares of `size` pixels out of images that lie one after another. Computed is what the squares show.

    Attributes:
        words: int32: every image's fields in the first pass, then in the second; tables of taps; for each program of
            the first pass, then of the second, where its image's fields lie.
        programs: of each pass, where they lie in `words`, and how many there are.
        bytes: of the images.
        scratch: bytes that the first pass leaves to the second.
    """

    crops: tuple[Crop, ...]
    size: int
    interpolation: str
    words: NDArray[np.int32]
    programs: Programs
    bytes: int
    scratch: int


class _Fields(NamedTuple):
    """An image in one pass, as the kernel reads them. Offsets and lengths in bytes; of the table, in words.

    Byte i of the result lies in line i // lanes. Across lines (`vertical`) the pixels that it is made of are `pitch`
    apart, else 3. No tap reads beyond pixel `last`.
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
    """The taps of one side of an image: the source pixels they need, and the table."""

    first: int
    stop: int
    table: int
    taps: int


class _Tables:
    """Tables of taps one after another, those that are equal once."""

    def __init__(self, start: int) -> None:
        self.words: list[NDArray[np.int32]] = []
        self.end = start
        self._sides: dict[tuple[int, int, int], _Side] = {}

    def side(self, source: int, target: int, first: int, count: int, interpolation: str) -> _Side:
        key = source, target, first
        if key not in self._sides:
            table = taps(source, target, first, count, interpolation)
            self._sides[key] = _Side(table.first, table.stop, self.end, len(table.words) - 1)
            self.words.append(table.words.reshape(-1))
            self.end += table.words.size
        return self._sides[key]


def plan(crops: Sequence[Crop], size: int, interpolation: str) -> Plan:
    """How `resize_crop` makes squares of `size` pixels out of images that lie one after another.

    Args:
        interpolation: `bicubic` or `bilinear`.

    Raises:
        ValueError: no image, a crop that does not lie within its image, another interpolation, or too many bytes.
    """
    if not crops:
        raise ValueError("there must be at least one image")
    tables = _Tables(2 * len(crops) * len(_Fields._fields))
    rows: list[tuple[_Fields, _Fields]] = []
    source = scratch = target = 0
    for crop in crops:
        check(crop, size)
        rows.append(_passes(crop, size, interpolation, tables, (source, scratch, target)))
        source, scratch, target = source + crop.bytes, scratch + rows[-1][0].total, target + size * size * 3
    if max(source, scratch, target) > MOST_BYTES:
        raise ValueError(f"{source} bytes of images, {scratch} between the passes: no more than {MOST_BYTES} fit")
    words, programs = _written(rows, tables)
    return Plan(tuple(crops), size, interpolation, words, programs, source, scratch)


def _written(rows: list[tuple[_Fields, _Fields]], tables: _Tables) -> tuple[NDArray[np.int32], Programs]:
    fields = np.array(list(zip(*rows, strict=True)), np.int32)  # (2, B, fields)
    programs = [_programs(fields, number) for number in range(2)]
    start = tables.end
    places = ((start, len(programs[0])), (start + len(programs[0]), len(programs[1])))
    return np.concatenate([fields.reshape(-1), *tables.words, *programs]), places


def check(crop: Crop, size: int) -> None:
    """
    Raises:
        ValueError: the square does not lie within the resized image.
    """
    for side, length, start in zip(("width", "height"), crop.resized, crop.corner, strict=True):
        if start < 0 or start + size > length:
            raise ValueError(f"a crop of {size} from {start} does not lie within the resized {side} of {length}")


def _passes(
    crop: Crop, size: int, interpolation: str, tables: _Tables, offsets: tuple[int, int, int]
) -> tuple[_Fields, _Fields]:
    """`offsets`: of the image, of what lies between the passes, of the result."""
    (width, height), resized, (left, top) = crop
    source, scratch, target = offsets
    across = tables.side(width, resized[0], left, size, interpolation)
    down = tables.side(height, resized[1], top, size, interpolation)
    line = size * 3
    if vertical_first(crop.source, resized):
        skipped, lanes = across.first * 3, (across.stop - across.first) * 3
        return (
            _Fields(source + skipped, scratch, size * lanes, lanes, width * 3, *_read(down), 1),
            _Fields(scratch - skipped, target, size * line, line, lanes, *_read(across), 0),
        )
    lines = down.stop - down.first
    return (
        _Fields(source + down.first * width * 3, scratch, lines * line, line, width * 3, *_read(across), 0),
        _Fields(scratch - down.first * line, target, size * line, line, line, *_read(down), 1),
    )


def _read(side: _Side) -> tuple[int, int, int]:
    return side.table, side.taps, side.stop - 1


def _programs(fields: NDArray[np.int32], number: int) -> NDArray[np.int32]:
    """Where the fields of each program's image lie. Into the fields goes which program is the image's first."""
    _, batch, width = fields.shape
    counts = -(-fields[number, :, _Fields._fields.index("total")] // BLOCK)
    fields[number, :, _Fields._fields.index("first_program")] = np.cumsum(counts) - counts
    starts = (number * batch + np.arange(batch, dtype=np.int32)) * width
    return np.repeat(starts.astype(np.int32), counts)

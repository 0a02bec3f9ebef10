"""Photographs as JPEG files of several sizes, from installed packages or from a folder. Nothing is downloaded."""

import io
import math
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

from ..models.preprocessing.sample_photos import installed_photographs

TILE_WIDTH = 500
QUALITY = 90


@dataclass(frozen=True, slots=True)
class Photo:
    """JPEG file: its name and its bytes."""

    name: str
    data: bytes


def make_photos(size: str) -> list[Photo]:
    """One JPEG per sample photograph of scikit-image, or of scikit-learn where scikit-image is not installed.

    Wider than about 500 pixels, it is a mosaic of the photograph and its mirror images: an enlarged photograph has less
    detail per pixel than one from a camera, and decodes faster.

    Args:
        size: width and height in pixels, as `500x375`.

    Raises:
        ValueError: not a size, or neither package is installed.
    """
    width, height = parse_size(size)
    return [
        Photo(f"{name} {size}", _encode(_mosaic(original, width, height))) for name, original in _originals().items()
    ]


def read_photos(folder: Path, max_count: int = 100) -> list[Photo]:
    """JPEG files of a folder, unchanged, sorted by name; at most `max_count`.

    Raises:
        ValueError: the folder has none.
    """
    files = (file for file in sorted(folder.glob("*")) if file.suffix.lower() in (".jpg", ".jpeg"))
    photos = [Photo(file.name, file.read_bytes()) for file in islice(files, max_count)]
    if not photos:
        raise ValueError(f"there is no .jpg or .jpeg file in {folder}")
    return photos


def parse_size(size: str) -> tuple[int, int]:
    """Parse `500x375` into (500, 375): width and height in pixels.

    Raises:
        ValueError: not of this form.
    """
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"a size is width x height in pixels, such as 500x375, not {size!r}")
    return int(width), int(height)


def _mosaic(original: Image.Image, width: int, height: int) -> Image.Image:
    count = max(1, round(width / TILE_WIDTH))  # of columns, and of rows
    tile = math.ceil(width / count), math.ceil(height / count)
    upright = ImageOps.fit(original, tile)
    mirrored = ImageOps.mirror(upright)
    tiles = upright, mirrored, ImageOps.flip(mirrored), ImageOps.flip(upright)
    picture = Image.new("RGB", (width, height))
    for index in range(count * count):
        row, column = divmod(index, count)
        picture.paste(tiles[(index + row) % len(tiles)], (column * tile[0], row * tile[1]))
    return picture


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


@cache
def _originals() -> dict[str, Image.Image]:
    photographs, _ = installed_photographs()
    if not photographs:
        raise ValueError(
            "no sample photographs: install scikit-image or scikit-learn, or name a folder of JPEG files with --images"
        )
    return photographs

"""Real photographs as JPEG files of several sizes, from what is installed or from a folder. Nothing is downloaded."""

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
    """The bytes of a JPEG file."""

    name: str
    data: bytes


def make_photos(size: str) -> list[Photo]:
    """One JPEG for each photograph that scikit-image brings along, or scikit-learn where that is missing.

    Beyond about 500 pixels across it is a mosaic of the photograph and its mirror images: enlarged, it would hold less
    detail in each pixel than a camera's, and decode faster.

    Args:
        size: `500x375`, width and height in pixels.

    Raises:
        ValueError: no size, or neither is installed.
    """
    width, height = parse_size(size)
    return [
        Photo(f"{name} {size}", _encode(_mosaic(original, width, height))) for name, original in _originals().items()
    ]


def read_photos(folder: Path, most: int = 100) -> list[Photo]:
    """The JPEG files of a folder as they are, in the order of their names; at most `most`.

    Raises:
        ValueError: there is none.
    """
    files = (file for file in sorted(folder.glob("*")) if file.suffix.lower() in (".jpg", ".jpeg"))
    photos = [Photo(file.name, file.read_bytes()) for file in islice(files, most)]
    if not photos:
        raise ValueError(f"there is no .jpg or .jpeg file in {folder}")
    return photos


def parse_size(size: str) -> tuple[int, int]:
    """`500x375` -> (500, 375).

    Raises:
        ValueError: another form.
    """
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"a size is width x height in pixels, such as 500x375, not {size!r}")
    return int(width), int(height)


def _mosaic(original: Image.Image, width: int, height: int) -> Image.Image:
    count = max(1, round(width / TILE_WIDTH))  # columns, and as many rows
    tile = math.ceil(width / count), math.ceil(height / count)
    upright = ImageOps.fit(original, tile)
    mirrored = ImageOps.mirror(upright)
    tiles = upright, mirrored, ImageOps.flip(mirrored), ImageOps.flip(upright)
    picture = Image.new("RGB", (width, height))
    for place in range(count * count):
        row, column = divmod(place, count)
        picture.paste(tiles[(place + row) % len(tiles)], (column * tile[0], row * tile[1]))
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
            "the photographs come with scikit-image or scikit-learn: install one, or name a folder of your own"
        )
    return photographs

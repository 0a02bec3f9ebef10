"""Photographs: of the requested size, different from each other, from packages or from a folder."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tessella.benchmarks.photos import make_photos, parse_size, read_photos


@pytest.mark.parametrize("size", ["500x375", "1280x960"])
def test_photographs_have_the_size_and_differ(size: str) -> None:
    photos = make_photos(size)
    pictures = [Image.open(io.BytesIO(photo.data)) for photo in photos]
    assert len(photos) >= 4
    assert len({photo.name for photo in photos}) == len({photo.data for photo in photos}) == len(photos)
    assert {picture.size for picture in pictures} == {parse_size(size)}
    assert {picture.format for picture in pictures} == {"JPEG"}
    means = [np.asarray(picture).mean((0, 1)) for picture in pictures]
    assert min(np.abs(a - b).max() for number, a in enumerate(means) for b in means[:number]) > 2


def test_large_photographs_have_as_much_detail_per_pixel() -> None:
    """Measured as bytes of JPEG per pixel, of which an enlarged photograph needs far fewer."""
    small, large = (sum(len(photo.data) for photo in make_photos(size)) for size in ("500x375", "2000x1500"))
    assert large / small > 0.8 * 16


def test_files_of_a_folder_are_read_unchanged(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpeg", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    assert [(photo.name, photo.data) for photo in read_photos(tmp_path)] == [("a.jpeg", b"a.jpeg"), ("b.JPG", b"b.JPG")]
    assert len(read_photos(tmp_path, max_count=1)) == 1
    with pytest.raises(ValueError, match=r"no \.jpg or \.jpeg file in .*empty"):
        read_photos(tmp_path / "empty")


@pytest.mark.parametrize("size", ["500", "500x", "x375", "0x375", "500 x 375", "-5x5", "big"])
def test_an_invalid_size_is_named(size: str) -> None:
    with pytest.raises(ValueError, match="such as 500x375"):
        parse_size(size)

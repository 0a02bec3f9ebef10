"""Decoding: every supported image becomes upright 8-bit RGB, everything else a specific error."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from tessella.models.errors import ImageDecodeError, ImageTooLargeError
from tessella.models.preprocessing.decode import decode, decode_pixels

from ...support import pictures


def difference(one: Image.Image, other: Image.Image) -> float:
    """Maximum absolute difference of two images."""
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    assert difference(decode(pictures.encode(pictures.gradient(), kind)), pictures.gradient()) == 0


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_come_back_nearly(kind: str) -> None:
    decoded = decode(pictures.encode(pictures.gradient(), kind))
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded, float) - np.asarray(pictures.gradient(), float)).mean() < 8


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 30}])
def test_jpeg_has_the_pixels_that_pillow_sees(options: dict[str, int]) -> None:
    data = pictures.encode(pictures.gradient(333, 251), "JPEG", **options)
    with_pillow = Image.open(io.BytesIO(data)).convert("RGB")
    assert difference(decode(data), with_pillow) == 0


def test_exif_orientation_is_applied() -> None:
    upright = decode(pictures.rotated_by_exif())
    assert upright.size == (64, 48)
    assert difference(upright, pictures.gradient()) < 16


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once_in_every_format(kind: str, orientation: int) -> None:
    """Pillow itself rotates a TIFF on load."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = pictures.encode(pictures.gradient(), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)).convert("RGB"))
    assert decode(data).size == ((64, 48) if orientation < 5 else (48, 64))
    assert difference(decode(data), expected) == 0
    assert np.array_equal(decode_pixels(data), np.asarray(decode(data)))


def test_16_bit_grey_keeps_its_range() -> None:
    values = np.asarray(decode(pictures.grey_16_bit()))
    assert values.min() == 0
    assert values.max() == 255
    assert 120 < values.mean() < 135


def test_cmyk_becomes_rgb() -> None:
    decoded = decode(pictures.cmyk())
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded, float) - np.asarray(pictures.gradient(), float)).mean() < 8


def test_palette_with_transparency_becomes_rgb() -> None:
    assert decode(pictures.palette_with_transparency()).mode == "RGB"


def test_the_first_frame_of_an_animation_is_decoded() -> None:
    assert np.asarray(decode(pictures.animated())).max() > 200


def test_one_pixel_is_an_image() -> None:
    assert decode(pictures.encode(Image.new("RGB", (1, 1), "red"))).size == (1, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"this is a text file", "not an image: the 19 bytes begin with b'this is '"),
        (b"\xff\xd8\xff\xe0 nothing follows", "not an image"),
        (pictures.truncated_jpeg(), "the JPEG image is damaged"),
        (pictures.encode(pictures.gradient())[:-40], "the PNG image is damaged"),
        (pictures.encode(Image.new("F", (8, 8)), "TIFF"), "32 bits per channel"),
    ],
)
def test_invalid_images_are_named(data: bytes, message: str) -> None:
    with pytest.raises(ImageDecodeError, match=message):
        decode(data)


def test_too_many_pixels_are_refused_from_the_header() -> None:
    with pytest.raises(ImageTooLargeError, match=r"60000|3600000000"):
        decode(pictures.huge_header())


def test_the_pixel_limit_is_the_callers() -> None:
    data = pictures.encode(pictures.gradient(100, 100))
    assert decode(data, max_pixels=10_000).size == (100, 100)
    with pytest.raises(ImageTooLargeError, match="100×100 pixels; at most 9,999"):
        decode(data, max_pixels=9_999)


@pytest.mark.parametrize(
    ("size", "min_side", "expected"),
    [
        ((1024, 768), None, (1024, 768)),
        ((1024, 768), 248, (384, 288)),
        ((768, 1024), 248, (288, 384)),
        ((490, 490), 248, (490, 490)),  # less than twice
        ((2000, 300), 248, (2000, 300)),
    ],
)
def test_a_large_jpeg_is_decoded_at_reduced_size_on_request_if_that_halves_it(
    size: tuple[int, int], min_side: int | None, expected: tuple[int, int]
) -> None:
    image = pictures.gradient().resize(size)
    smaller = decode(pictures.encode(image, "JPEG", quality=95), min_side=min_side)
    assert smaller.size == expected
    off = np.abs(np.asarray(smaller, np.int16) - np.asarray(image.resize(expected), np.int16))
    assert off.mean() < 2
    assert decode(pictures.encode(image), min_side=min_side).size == size  # a PNG has no smaller form

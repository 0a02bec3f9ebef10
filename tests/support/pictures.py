"""Encoded images of every kind a client may send, whole and broken, made here."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """An RGB image whose every pixel tells its place: red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8))


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated_by_exif() -> bytes:
    """A JPEG stored on its side with an EXIF orientation that turns it upright: 48×64 stored, 64×48 seen."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = gradient().transpose(Image.Transpose.ROTATE_90)
    return encode(stored, "JPEG", quality=95, subsampling=0, exif=exif)


def grey_16_bit() -> bytes:
    return encode(Image.fromarray((np.linspace(0, 65535, 64 * 48).reshape(48, 64)).astype(np.uint16)))


def cmyk() -> bytes:
    return encode(gradient().convert("CMYK"), "JPEG")


def palette_with_transparency() -> bytes:
    return encode(gradient().quantize(16), transparency=bytes([0, 128] + [255] * 14))


def animated() -> bytes:
    """Two frames: the gradient, then black."""
    return encode(gradient(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))], duration=100)


def truncated_jpeg() -> bytes:
    data = encode(gradient(256, 256), "JPEG")
    return data[: len(data) // 2]


def huge_header(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

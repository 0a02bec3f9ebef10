"""Encoded images of every kind that a client may send, intact and broken."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """RGB gradient: red increases to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8))


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated_by_exif() -> bytes:
    """JPEG with an EXIF orientation: 48×64 pixels stored, 64×48 upright."""
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
    """GIF of two frames: the gradient, then black."""
    return encode(gradient(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))], duration=100)


def truncated_jpeg() -> bytes:
    data = encode(gradient(256, 256), "JPEG")
    return data[: len(data) // 2]


def huge_header(width: int = 60_000, height: int = 60_000) -> bytes:
    """PNG of a few bytes whose header declares this many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

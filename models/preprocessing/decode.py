"""Image decoding: encoded bytes -> an upright 8-bit RGB image, with limits against hostile files. No torch."""

import io
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageDecodeError, ImageTooLargeError

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO")
DEFAULT_MAX_PIXELS: Final = 50_000_000
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int | None = None) -> Image.Image:
    """Decode the first frame of an image to 8-bit RGB without alpha, upright by its EXIF orientation.

    Args:
        max_pixels: largest image that is decoded.
        min_side: allows a JPEG to be decoded at reduced size (DCT scaling), with both sides at least this long in
            pixels, if that at least halves them.

    Raises:
        ImageDecodeError: the bytes are empty, damaged, of an unknown format, or of 32 bits per channel.
        ImageTooLargeError: the header declares more than `max_pixels` pixels; nothing was decoded.
    """
    return _upright(*_decoded(data, max_pixels, min_side))


def decode_pixels(
    data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int | None = None
) -> NDArray[np.uint8]:
    """Decode as `decode`, to uint8 (H, W, 3); JPEGs are not converted to a Pillow image on the way."""
    decoded, orientation = _decoded(data, max_pixels, min_side)
    if isinstance(decoded, np.ndarray) and orientation not in _UPRIGHT:
        return decoded
    return np.asarray(_upright(decoded, orientation))


def _upright(decoded: Image.Image | NDArray[np.uint8], orientation: int | None) -> Image.Image:
    rgb = Image.fromarray(decoded) if isinstance(decoded, np.ndarray) else decoded
    return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


def _decoded(data: bytes, max_pixels: int, min_side: int | None) -> tuple[Image.Image | NDArray[np.uint8], int | None]:
    """RGB image as stored, and its EXIF orientation."""
    if not data:
        raise ImageDecodeError("the image is empty (0 bytes)")
    image = _open(data)
    if image.width * image.height > max_pixels:
        raise ImageTooLargeError(
            f"the image has {image.width}×{image.height} pixels; at most {max_pixels:,} pixels are accepted"
        )
    try:
        jpeg = _decode_jpeg(data, image, min_side)
        decoded = _to_rgb(image) if jpeg is None else jpeg
        return decoded, image.getexif().get(_ORIENTATION)  # read last: Pillow rotates a TIFF on load
    except ImageDecodeError:
        raise
    except Exception as error:  # decoders raise almost any exception on damaged bytes
        raise ImageDecodeError(f"the {image.format} image is damaged: {error}") from error


def _open(data: bytes) -> Image.Image:
    """Pillow image of which only the header has been read."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"the image's header declares too many pixels: {error}") from error
    except Exception as error:  # a hostile header can raise almost any exception
        raise ImageDecodeError(
            f"not an image: the {len(data)} bytes begin with {data[:8]!r}, which is none of {', '.join(FORMATS[:-1])}"
        ) from error


def _decode_jpeg(data: bytes, image: Image.Image, min_side: int | None) -> NDArray[np.uint8] | None:
    """JPEG fast path through libjpeg-turbo, with Pillow's settings. None where Pillow has to decode."""
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    smaller = {"min_width": min_side, "min_height": min_side, "min_factor": 2} if min_side else {}
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, **smaller)
    except ValueError:
        return None
    return pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    match image.mode:
        case "RGB":
            image.load()
            return image
        case "I;16" | "I;16L" | "I;16B" | "I;16N":
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        case "I" | "F":
            raise ImageDecodeError(
                f"a {image.format} image with 32 bits per channel has no defined white level; use 8 or 16 bits"
            )
        case "P" | "PA" if "transparency" in image.info:
            return image.convert("RGBA").convert("RGB")
        case _:
            return image.convert("RGB")

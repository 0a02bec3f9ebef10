"""An input tensor -> the images in it: encoded ones as bytes, decoded ones as the engine's own uint8 pixels."""

import base64
import binascii
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....models.preprocessing.images import Pixels
from ....models.preprocessing.preprocess import Preprocessing
from ...errors import BadRequest, RequestTooLarge
from .requests import Tensor

INPUTS = {"image": ("BYTES",), "pixels": ("UINT8",), "pixel_values": ("FP32", "FP16")}
_LAYOUTS = {"UINT8": "<u1", "FP32": "<f4", "FP16": "<f2"}


def images_of(inputs: Sequence[Tensor], recipe: Preprocessing, most: int) -> list[bytes | Pixels]:
    """The images of a request, in order.

    Args:
        inputs: exactly one of `image` (N,) BYTES: encoded files of any size; in JSON as base64. `pixels` (N, H, W, 3)
            UINT8: what the network sees, cropped already. `pixel_values` (N, 3, H, W) FP32 or FP16: that, normalised.
        most: images that a request may hold.

    Raises:
        BadRequest: no such input, or another datatype, shape or amount of data than it has.
        RequestTooLarge: more than `most` images.
    """
    if len(inputs) != 1:
        raise BadRequest(f"a request has exactly one input, one of {', '.join(INPUTS)}; this one has {len(inputs)}")
    tensor = inputs[0]
    _check(tensor, recipe, most)
    if tensor.name == "image":
        return list(_encoded(tensor))
    values = _values(tensor)
    return list(values if tensor.name == "pixels" else pixels_of(values, recipe))


def pixels_of(values: NDArray[Any], recipe: Preprocessing) -> Pixels:
    """(N, 3, H, W) normalised values -> (N, H, W, 3) uint8 pixels.

    The values are what timm's and Hugging Face's transforms make of a pixel u: (u / 255 - mean) / std, with the
    checkpoint's own mean and std. Each becomes the nearest of the 256 pixel values, ties to the even one. Values that
    were made from uint8 pixels, in FP32 or FP16, give exactly those back.

    Raises:
        BadRequest: a value is not finite, or more than half a step beyond black or white.
    """
    mean, std = (np.array(part, np.float32)[:, None, None] for part in (recipe.mean, recipe.std))
    steps = values.astype(np.float32)
    with np.errstate(over="ignore"):  # becomes infinite, which is no pixel
        steps *= std * 255
        steps += mean * 255
    if not (steps.min() >= -0.5 and steps.max() <= 255.5):
        raise BadRequest(
            f"'pixel_values' holds values from {values.min():g} to {values.max():g}; normalised with this model's mean "
            f"{recipe.mean} and std {recipe.std} they lie between {((0 - mean) / std).min():.4g} and "
            f"{((1 - mean) / std).max():.4g}"
        )
    np.rint(steps, out=steps)
    pixels: Pixels = steps.clip(0, 255, out=steps).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def _check(tensor: Tensor, recipe: Preprocessing, most: int) -> None:
    if tensor.name not in INPUTS:
        raise BadRequest(f"there is no input {tensor.name!r}; send one of {', '.join(INPUTS)}")
    if tensor.datatype not in INPUTS[tensor.name]:
        raise BadRequest(f"input {tensor.name!r} is {' or '.join(INPUTS[tensor.name])}, not {tensor.datatype!r}")
    side = recipe.size
    rows = {"image": ((), (1,)), "pixels": ((side, side, 3),), "pixel_values": ((3, side, side),)}[tensor.name]
    if not tensor.shape or tensor.shape[1:] not in rows:
        wanted = ", ".join(map(str, ("N", *rows[0])))
        raise BadRequest(f"input {tensor.name!r} has the shape [{wanted}], not {list(tensor.shape)}")
    if not tensor.shape[0]:
        raise BadRequest(f"input {tensor.name!r} is empty; send at least one image")
    if tensor.shape[0] > most:
        raise RequestTooLarge(f"a request may hold at most {most} images; send them in several requests")


def _encoded(tensor: Tensor) -> Sequence[bytes]:
    content = tensor.content
    images = split_bytes(content) if isinstance(content, memoryview) else [_from_text(item) for item in flat(content)]
    if len(images) != tensor.elements:
        raise BadRequest(f"input {tensor.name!r} holds {len(images)} elements, its shape says {tensor.elements}")
    return images


def flat(items: Sequence[Any]) -> list[Any]:
    """The elements of a list that may be nested once: (N,) or (N, 1)."""
    return [inner for item in items for inner in (item if isinstance(item, list) else [item])]


def _from_text(item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    try:
        _, _, text = item.rpartition(";base64,")  # a data URI is read too
        return base64.b64decode(text, validate=True)
    except (AttributeError, binascii.Error, ValueError) as error:
        raise BadRequest(f"in JSON an element of 'image' is the file as base64 text: {error}") from error


def split_bytes(content: memoryview) -> list[bytes]:
    """The elements of a binary BYTES tensor: each is its length, 4 bytes little-endian, and so many bytes.

    Raises:
        BadRequest: an element is longer than what is left.
    """
    elements: list[bytes] = []
    start = 0
    while start < len(content):
        begin = start + 4
        if begin > len(content):
            raise BadRequest(f"a BYTES tensor ends within the length of element {len(elements)}")
        (size,) = struct.unpack_from("<I", content, start)
        start = begin + size
        if start > len(content):
            raise BadRequest(
                f"element {len(elements)} of a BYTES tensor says {size} bytes, {len(content) - begin} follow"
            )
        elements.append(bytes(content[begin:start]))
    return elements


def _values(tensor: Tensor) -> NDArray[Any]:
    layout = np.dtype(_LAYOUTS[tensor.datatype])
    if isinstance(tensor.content, memoryview):
        expected = tensor.elements * layout.itemsize
        if len(tensor.content) != expected:
            raise BadRequest(
                f"input {tensor.name!r} of shape {list(tensor.shape)} and {tensor.datatype} is {expected} bytes, "
                f"not {len(tensor.content)}"
            )
        return np.frombuffer(tensor.content, layout).reshape(tensor.shape)
    return _from_numbers(tensor, layout)


def _from_numbers(tensor: Tensor, layout: np.dtype[Any]) -> NDArray[Any]:
    try:
        numbers = np.asarray(tensor.content)
    except ValueError as error:
        raise BadRequest(f"the data of input {tensor.name!r} is ragged or nested too deep") from error
    if numbers.size != tensor.elements:
        raise BadRequest(f"input {tensor.name!r} holds {numbers.size} elements, its shape says {tensor.elements}")
    if numbers.dtype.kind not in ("iu" if layout.kind == "u" else "iuf"):
        raise BadRequest(f"the data of input {tensor.name!r} must be {tensor.datatype} numbers")
    if layout.kind == "u" and not (numbers.min() >= 0 and numbers.max() <= 255):
        raise BadRequest(f"the data of input {tensor.name!r} must be whole numbers from 0 to 255")
    with np.errstate(over="ignore"):
        return numbers.astype(layout).reshape(tensor.shape)

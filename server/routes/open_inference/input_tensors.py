"""Input tensors -> images: encoded ones as bytes, decoded ones as the uint8 pixels that the engine takes."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....models.preprocessing.images import Pixels
from ....models.preprocessing.preprocess import Preprocessing
from ...errors import BadRequest
from ...http.image_inputs import decode_image_text, too_many_images
from .requests import InputTensor

INPUTS = {"image": ("BYTES",), "pixels": ("UINT8",), "pixel_values": ("FP32", "FP16")}
_DTYPES = {"UINT8": "<u1", "FP32": "<f4", "FP16": "<f2"}


def extract_images(
    inputs: Sequence[InputTensor], preprocessing: Preprocessing, max_images: int
) -> list[bytes | Pixels]:
    """Images of a request, in order.

    Args:
        inputs: exactly one of `image` (N,) BYTES: image files of any size, in JSON as base64; `pixels` (N, H, W, 3)
            UINT8: resized and cropped images; `pixel_values` (N, 3, H, W) FP32 or FP16: the same, normalised.
        max_images: limit for N.

    Raises:
        BadRequest: an unknown input, or a wrong datatype, shape or amount of data.
        RequestTooLarge: more than `max_images` images.
    """
    if len(inputs) != 1:
        raise BadRequest(f"a request must have exactly one input ({', '.join(INPUTS)}); this one has {len(inputs)}")
    tensor = inputs[0]
    _check(tensor, preprocessing, max_images)
    if tensor.name == "image":
        return list(_encoded_images(tensor))
    values = _array(tensor)
    return list(values if tensor.name == "pixels" else denormalize(values, preprocessing))


def denormalize(values: NDArray[Any], preprocessing: Preprocessing) -> Pixels:
    """(N, 3, H, W) normalised values -> (N, H, W, 3) uint8 pixels.

    Inverse of the normalisation by timm and Hugging Face, (u / 255 - mean) / std for a pixel u, with the checkpoint's
    own mean and std. Results are rounded to the nearest integer, ties to even. Values computed from uint8 pixels, in
    FP32 or FP16, give exactly those pixels.

    Raises:
        BadRequest: a value is not finite, or more than half a step outside 0 to 255.
    """
    mean, std = (np.array(part, np.float32)[:, None, None] for part in (preprocessing.mean, preprocessing.std))
    steps = values.astype(np.float32)
    with np.errstate(over="ignore"):  # infinity fails the check below
        steps *= std * 255
        steps += mean * 255
    if not (steps.min() >= -0.5 and steps.max() <= 255.5):
        raise BadRequest(
            f"'pixel_values' has values from {values.min():g} to {values.max():g}; with this model's mean "
            f"{preprocessing.mean} and std {preprocessing.std} they must be between {((0 - mean) / std).min():.4g} and "
            f"{((1 - mean) / std).max():.4g}"
        )
    np.rint(steps, out=steps)
    pixels: Pixels = steps.clip(0, 255, out=steps).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def flatten(items: Sequence[Any]) -> list[Any]:
    """Elements of a list of shape (N,) or (N, 1)."""
    return [inner for item in items for inner in (item if isinstance(item, list) else [item])]


def split_bytes(content: memoryview) -> list[bytes]:
    """Elements of a binary BYTES tensor: each follows its length, 4 bytes little-endian.

    Raises:
        BadRequest: the tensor is truncated.
    """
    elements: list[bytes] = []
    start = 0
    while start < len(content):
        begin = start + 4
        if begin > len(content):
            raise BadRequest(f"the BYTES tensor is truncated within the length of element {len(elements)}")
        (size,) = struct.unpack_from("<I", content, start)
        start = begin + size
        if start > len(content):
            raise BadRequest(
                f"element {len(elements)} of the BYTES tensor has a length of {size} bytes, but only "
                f"{len(content) - begin} follow"
            )
        elements.append(bytes(content[begin:start]))
    return elements


def _check(tensor: InputTensor, preprocessing: Preprocessing, max_images: int) -> None:
    if tensor.name not in INPUTS:
        raise BadRequest(f"unknown input {tensor.name!r}; available inputs: {', '.join(INPUTS)}")
    datatypes = INPUTS[tensor.name]
    if tensor.datatype not in datatypes:
        raise BadRequest(f"input {tensor.name!r} must have datatype {' or '.join(datatypes)}, not {tensor.datatype!r}")
    side = preprocessing.size
    shapes = {"image": ((), (1,)), "pixels": ((side, side, 3),), "pixel_values": ((3, side, side),)}[tensor.name]
    if not tensor.shape or tensor.shape[1:] not in shapes:
        expected = ", ".join(map(str, ("N", *shapes[0])))
        raise BadRequest(f"input {tensor.name!r} must have shape [{expected}], not {list(tensor.shape)}")
    if not tensor.shape[0]:
        raise BadRequest(f"input {tensor.name!r} is empty; send at least one image")
    if tensor.shape[0] > max_images:
        raise too_many_images(max_images)


def _check_element_count(tensor: InputTensor, count: int) -> None:
    if count != tensor.element_count:
        raise BadRequest(
            f"input {tensor.name!r} has {count} elements, but its shape {list(tensor.shape)} requires "
            f"{tensor.element_count}"
        )


def _encoded_images(tensor: InputTensor) -> Sequence[bytes]:
    content = tensor.content
    if isinstance(content, memoryview):
        images = split_bytes(content)
    else:
        images = [_decode_element(item) for item in flatten(content)]
    _check_element_count(tensor, len(images))
    return images


def _decode_element(item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    if not isinstance(item, str):
        raise BadRequest(f"in JSON, the elements of input 'image' must be base64 text, not {type(item).__name__}")
    try:
        return decode_image_text(item)
    except BadRequest as error:
        raise BadRequest(f"in JSON, the elements of input 'image' must be base64 text: {error}") from error


def _array(tensor: InputTensor) -> NDArray[Any]:
    dtype = np.dtype(_DTYPES[tensor.datatype])
    if isinstance(tensor.content, memoryview):
        expected = tensor.element_count * dtype.itemsize
        if len(tensor.content) != expected:
            raise BadRequest(
                f"input {tensor.name!r} with shape {list(tensor.shape)} and datatype {tensor.datatype} must have "
                f"{expected} bytes, not {len(tensor.content)}"
            )
        return np.frombuffer(tensor.content, dtype).reshape(tensor.shape)
    return _array_of_numbers(tensor, dtype)


def _array_of_numbers(tensor: InputTensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        numbers = np.asarray(tensor.content)
    except ValueError as error:
        raise BadRequest(f"the data of input {tensor.name!r} is ragged or nested too deeply") from error
    _check_element_count(tensor, numbers.size)
    if numbers.dtype.kind not in ("iu" if dtype.kind == "u" else "iuf"):
        raise BadRequest(f"the data of input {tensor.name!r} must be {tensor.datatype} numbers")
    if dtype.kind == "u" and not (numbers.min() >= 0 and numbers.max() <= 255):
        raise BadRequest(f"the data of input {tensor.name!r} must be integers from 0 to 255")
    with np.errstate(over="ignore"):
        return numbers.astype(dtype).reshape(tensor.shape)

"""The body of `POST /v2/models/{model}/infer` -> an inference request: JSON, JSON with binary tensors, or raw bytes."""

import struct
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from ...errors import BadRequest
from .infer import Inferred, Output, Values
from .requests import (
    InferRequest,
    RequestedOutput,
    Tensor,
    output_of,
    refuse_shared_memory,
    schedule_of,
    shape_of,
    unique,
)

HEADER_LENGTH = "inference-header-content-length"
RAW_INPUT = "image"
_MOST_TENSORS = 16

Document = dict[str, Any]


def read_request(body: bytes, header_length: str | None) -> InferRequest:
    """Reads a body, already decompressed.

    Args:
        header_length: the value of `Inference-Header-Content-Length`: bytes of JSON before the binary tensors. None:
            all of it is JSON. 0: a raw request, the body is one encoded image, and every output is wanted in binary.

    Raises:
        BadRequest, Unsupported: with what was wrong and what would be right.
    """
    size = _header_size(header_length, len(body))
    if size == 0:
        if not body:
            raise BadRequest(f"the body is empty; a raw request is the bytes of one {RAW_INPUT}")
        return InferRequest((Tensor(RAW_INPUT, "BYTES", (1,), [body]),), binary=True)
    document = _object(_parse(body[:size]), "the request")
    parameters = _parameters(document, "the request")
    binary = parameters.get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise BadRequest("parameter 'binary_data_output' must be true or false")
    priority, timeout = schedule_of(parameters)
    inputs = _inputs(_list(document, "inputs"), memoryview(body)[size:])
    outputs = tuple(_output(output, binary) for output in _list(document, "outputs"))
    unique("output", [output.name for output in outputs])
    return InferRequest(inputs, outputs, _text(document, "id", "the request", ""), priority, timeout, binary)


def _header_size(header_length: str | None, body_size: int) -> int:
    if header_length is None:
        if not body_size:
            raise BadRequest("the body is empty; send an inference request as JSON")
        return body_size
    if not (header_length.isascii() and header_length.isdecimal()) or len(header_length) > 18:
        raise BadRequest(f"Inference-Header-Content-Length must be a number of bytes, not {header_length[:40]!r}")
    size = int(header_length)
    if size > body_size:
        raise BadRequest(f"Inference-Header-Content-Length is {size}, the whole body has only {body_size} bytes")
    return size


def _parse(text: bytes) -> Any:
    try:
        return from_json(text, cache_strings="keys")
    except ValueError as error:  # too deep, cut off, not UTF-8, a number of thousands of digits
        raise BadRequest(f"the request is not valid JSON: {error}") from error


def _inputs(documents: list[Any], binary: memoryview) -> tuple[Tensor, ...]:
    """The inputs, each with its part of the binary data."""
    tensors: list[Tensor] = []
    alone = len(documents) == 1
    start = 0
    for document in documents:
        tensor, size = _input(_object(document, "an input"), binary[start:], alone)
        tensors.append(tensor)
        start += size
    if start != len(binary):
        raise BadRequest(f"{len(binary) - start} bytes follow the JSON that belong to no input's 'binary_data_size'")
    unique("input", [tensor.name for tensor in tensors])
    return tuple(tensors)


def _input(document: Document, binary: memoryview, alone: bool) -> tuple[Tensor, int]:
    """An input, and how many bytes of `binary`, which begins with its own, it takes."""
    name = _text(document, "name", "an input")
    what = f"input {name!r}"
    parameters = _parameters(document, what)
    refuse_shared_memory(what, parameters)
    shape = shape_of(name, document.get("shape"))
    datatype = _text(document, "datatype", what)
    if "data" in document:
        if "binary_data_size" in parameters:
            raise BadRequest(f"{what} has both 'data' and 'binary_data_size'; send one of them")
        return Tensor(name, datatype, shape, _list(document, "data")), 0
    size = parameters.get("binary_data_size", len(binary) if alone and len(binary) else None)
    if type(size) is not int or size < 0:
        raise BadRequest(f"{what} needs 'data', or its number of bytes after the JSON as 'binary_data_size'")
    if size > len(binary):
        raise BadRequest(f"{what}: 'binary_data_size' is {size}, only {len(binary)} bytes are left of the body")
    return Tensor(name, datatype, shape, binary[:size]), size


def _output(document: Any, binary: bool) -> RequestedOutput:
    name = _text(_object(document, "an output"), "name", "an output")
    return output_of(name, _parameters(document, f"output {name!r}"), binary=binary)


def _object(value: Any, what: str) -> Document:
    if not isinstance(value, dict):
        raise BadRequest(f"{what} must be a JSON object")
    return value


def _list(document: Document, key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise BadRequest(f"{key!r} must be a list")
    if key != "data" and len(value) > _MOST_TENSORS:
        raise BadRequest(f"{key!r} holds {len(value)} tensors; no model has more than {_MOST_TENSORS}")
    return value


def _parameters(document: Document, what: str) -> Document:
    value = document.get("parameters", {})
    if not isinstance(value, dict):
        raise BadRequest(f"the parameters of {what} must be a JSON object")
    return value


def _text(document: Document, key: str, what: str, default: str | None = None) -> str:
    value = document.get(key, default)
    if not isinstance(value, str):
        raise BadRequest(f"{what} needs {key!r} as a string")
    return value


def write_response(answer: Inferred, request_id: str) -> tuple[bytes, int | None]:
    """The body, and the bytes of its JSON part where binary tensors follow it."""
    tensors: list[bytes] = []
    document: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
    if request_id:
        document["id"] = request_id
    document["outputs"] = [_describe(output, tensors) for output in answer.outputs]
    text = to_json(document, inf_nan_mode="constants")
    return b"".join([text, *tensors]), len(text) if tensors else None


def _describe(output: Output, tensors: list[bytes]) -> dict[str, Any]:
    described: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
    if output.binary:
        tensors.append(raw(output.values))
        return described | {"parameters": {"binary_data_size": len(tensors[-1])}}
    return described | {"data": _elements(output.values)}


def _elements(values: Values) -> list[Any]:
    """Flat, row by row."""
    if isinstance(values, np.ndarray):
        return values.ravel().tolist()
    return [element.decode() for row in values for element in row]


def raw(values: Values) -> bytes:
    """A tensor's little-endian bytes; each BYTES element follows its length in 4 bytes."""
    if isinstance(values, np.ndarray):
        return values.astype("<f4", copy=False).tobytes()
    return b"".join(struct.pack("<I", len(element)) + element for row in values for element in row)

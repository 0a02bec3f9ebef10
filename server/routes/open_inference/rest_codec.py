"""REST codec: bodies of `POST /v2/models/{name}/infer` as JSON, JSON with binary tensors, or one raw image."""

from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from ...errors import BadRequest
from .infer import InferResult, OutputTensor, Values
from .requests import (
    InferRequest,
    InputTensor,
    RequestedOutput,
    check_unique,
    parse_output,
    parse_schedule,
    parse_shape,
    reject_shared_memory,
)

HEADER_LENGTH = "inference-header-content-length"
RAW_INPUT = "image"
MAX_TENSORS = 16

JsonObject = dict[str, Any]


def read_request(body: bytes, header_length: str | None) -> InferRequest:
    """Parse the (decompressed) body of a request.

    Args:
        header_length: value of `Inference-Header-Content-Length`: bytes of JSON before the binary tensors. None: the
            body is JSON only. 0: the body is one encoded image, and all outputs are returned in binary.

    Raises:
        BadRequest, Unsupported: the body is invalid, or uses an extension that is not supported.
    """
    size = _header_size(header_length, len(body))
    if size == 0:
        if not body:
            raise BadRequest("the body is empty; with a header length of 0 it must be one encoded image")
        return InferRequest((InputTensor(RAW_INPUT, "BYTES", (1,), [body]),), binary=True)
    request = _object(_parse(body[:size]), "the request")
    parameters = _parameters(request, "the request")
    binary = parameters.get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise BadRequest("parameter 'binary_data_output' must be true or false")
    priority, timeout = parse_schedule(parameters)
    inputs = _inputs(_list(request, "inputs"), memoryview(body)[size:])
    outputs = tuple(_requested_output(output, binary) for output in _list(request, "outputs"))
    check_unique("output", [output.name for output in outputs])
    return InferRequest(inputs, outputs, _string(request, "id", "the request", ""), priority, timeout, binary)


def write_response(result: InferResult, request_id: str) -> tuple[bytes, int | None]:
    """Body of a response, and the length of its JSON part if binary tensors follow."""
    tensors: list[bytes] = []
    response: JsonObject = {"model_name": result.model, "model_version": result.version}
    if request_id:
        response["id"] = request_id
    response["outputs"] = [_output(output, tensors) for output in result.outputs]
    text = to_json(response, inf_nan_mode="constants")
    return b"".join([text, *tensors]), len(text) if tensors else None


def _header_size(header_length: str | None, body_size: int) -> int:
    if header_length is None:
        if not body_size:
            raise BadRequest("the body is empty; send an inference request as JSON")
        return body_size
    if not (header_length.isascii() and header_length.isdecimal()) or len(header_length) > 18:
        raise BadRequest(f"Inference-Header-Content-Length must be a number of bytes, not {header_length[:40]!r}")
    size = int(header_length)
    if size > body_size:
        raise BadRequest(f"Inference-Header-Content-Length is {size}, but the body has only {body_size} bytes")
    return size


def _parse(text: bytes) -> Any:
    try:
        return from_json(text, cache_strings="keys")
    except ValueError as error:  # nested too deeply, truncated, not UTF-8, a number with thousands of digits
        raise BadRequest(f"the request is not valid JSON: {error}") from error


def _inputs(items: list[Any], binary: memoryview) -> tuple[InputTensor, ...]:
    """Input tensors, each with its part of the binary data."""
    tensors: list[InputTensor] = []
    single = len(items) == 1
    start = 0
    for item in items:
        tensor, size = _input(_object(item, "an input"), binary[start:], single)
        tensors.append(tensor)
        start += size
    if start != len(binary):
        raise BadRequest(f"{len(binary) - start} bytes after the JSON belong to no input; set 'binary_data_size'")
    check_unique("input", [tensor.name for tensor in tensors])
    return tuple(tensors)


def _input(item: JsonObject, binary: memoryview, single: bool) -> tuple[InputTensor, int]:
    """Input tensor, and the number of bytes that it takes from the start of `binary`."""
    name = _string(item, "name", "an input")
    label = f"input {name!r}"
    parameters = _parameters(item, label)
    reject_shared_memory(label, parameters)
    shape = parse_shape(name, item.get("shape"))
    datatype = _string(item, "datatype", label)
    if "data" in item:
        if "binary_data_size" in parameters:
            raise BadRequest(f"{label} has both 'data' and 'binary_data_size'; send only one of them")
        return InputTensor(name, datatype, shape, _list(item, "data")), 0
    size = parameters.get("binary_data_size", len(binary) if single and len(binary) else None)
    if type(size) is not int or size < 0:
        raise BadRequest(f"{label} needs 'data', or the parameter 'binary_data_size' with its bytes after the JSON")
    if size > len(binary):
        raise BadRequest(f"{label}: 'binary_data_size' is {size}, but only {len(binary)} bytes of the body remain")
    return InputTensor(name, datatype, shape, binary[:size]), size


def _requested_output(item: Any, binary: bool) -> RequestedOutput:
    name = _string(_object(item, "an output"), "name", "an output")
    return parse_output(name, _parameters(item, f"output {name!r}"), binary=binary)


def _object(value: Any, label: str) -> JsonObject:
    if not isinstance(value, dict):
        raise BadRequest(f"{label} must be a JSON object")
    return value


def _list(item: JsonObject, key: str) -> list[Any]:
    value = item.get(key, [])
    if not isinstance(value, list):
        raise BadRequest(f"{key!r} must be a list")
    if key != "data" and len(value) > MAX_TENSORS:
        raise BadRequest(f"{key!r} has {len(value)} tensors; at most {MAX_TENSORS} are accepted")
    return value


def _parameters(item: JsonObject, label: str) -> JsonObject:
    value = item.get("parameters", {})
    if not isinstance(value, dict):
        raise BadRequest(f"the parameters of {label} must be a JSON object")
    return value


def _string(item: JsonObject, key: str, label: str, default: str | None = None) -> str:
    value = item.get(key, default)
    if not isinstance(value, str):
        raise BadRequest(f"{label} needs {key!r} as a string")
    return value


def _output(output: OutputTensor, tensors: list[bytes]) -> JsonObject:
    """JSON of an output; a binary one is appended to `tensors`."""
    metadata: JsonObject = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
    if output.binary:
        tensors.append(output.raw_bytes)
        return metadata | {"parameters": {"binary_data_size": len(tensors[-1])}}
    return metadata | {"data": _elements(output.values)}


def _elements(values: Values) -> list[Any]:
    """Flat list of elements in row-major order."""
    if isinstance(values, np.ndarray):
        return values.ravel().tolist()
    return [element.decode() for row in values for element in row]

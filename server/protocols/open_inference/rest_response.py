"""Output tensors -> the body of an inference response: JSON, followed by what was asked for in binary."""

import struct
from typing import Any

import numpy as np
from pydantic_core import to_json

from .infer import Inferred, Output, Values


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

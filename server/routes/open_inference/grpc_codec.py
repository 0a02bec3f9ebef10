"""Protobuf codec: ModelInferRequest -> inference request, inference result -> ModelInferResponse."""

from typing import Any

import numpy as np

from ...errors import BadRequest
from . import tessella_open_inference_pb2 as pb
from .infer import InferResult
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

_CONTENTS = {"BYTES": "bytes_contents", "UINT8": "uint_contents", "FP32": "fp32_contents"}


def read_message(message: pb.ModelInferRequest) -> InferRequest:
    """Parse a ModelInferRequest.

    Raises:
        BadRequest, Unsupported: the message is invalid, or uses an extension that is not supported.
    """
    contents = message.raw_input_contents
    if contents and len(contents) != len(message.inputs):
        raise BadRequest(f"{len(contents)} raw_input_contents for {len(message.inputs)} inputs; send one for each")
    inputs = tuple(_input(tensor, contents[index] if contents else None) for index, tensor in enumerate(message.inputs))
    check_unique("input", [tensor.name for tensor in inputs])
    outputs = tuple(_requested_output(output) for output in message.outputs)
    check_unique("output", [output.name for output in outputs])
    schedule = parse_schedule(parameters_of(message))
    return InferRequest(inputs, outputs, message.id, *schedule, binary=not has_typed_contents(message))


def has_typed_contents(message: pb.ModelInferRequest) -> bool:
    """Check whether a request's tensors are typed rather than raw contents; those of the response are the same."""
    return not message.raw_input_contents


def write_message(result: InferResult, request_id: str, *, typed: bool) -> pb.ModelInferResponse:
    """ModelInferResponse with `typed` or raw contents."""
    response = pb.ModelInferResponse(model_name=result.model, model_version=result.version, id=request_id)
    for output in result.outputs:
        tensor = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if not typed:
            response.raw_output_contents.append(output.raw_bytes)
        elif isinstance(output.values, np.ndarray):
            tensor.contents.fp32_contents.extend(output.values.ravel().tolist())
        else:
            tensor.contents.bytes_contents.extend(element for row in output.values for element in row)
    return response


def parameters_of(message: Any) -> dict[str, Any]:
    """Parameters of a message as Python values."""
    parameters = message.parameters
    return {
        name: getattr(value, choice)
        for name, value in parameters.items()
        if (choice := value.WhichOneof("parameter_choice"))
    }


def _input(tensor: pb.ModelInferRequest.InferInputTensor, content: bytes | None) -> InputTensor:
    reject_shared_memory(f"input {tensor.name!r}", parameters_of(tensor))
    shape = parse_shape(tensor.name, list(tensor.shape))
    if content is not None:
        return InputTensor(tensor.name, tensor.datatype, shape, memoryview(content))
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise BadRequest(
            f"input {tensor.name!r}: typed contents are not supported for {tensor.datatype!r}; use raw_input_contents"
        )
    return InputTensor(tensor.name, tensor.datatype, shape, list(getattr(tensor.contents, field)))


def _requested_output(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> RequestedOutput:
    parameters = parameters_of(output) | {"binary_data": True}  # a parameter of REST, without meaning here
    return parse_output(output.name, parameters, binary=True)

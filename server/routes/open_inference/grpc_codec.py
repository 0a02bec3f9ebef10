"""Between protobuf messages and what they mean: a ModelInferRequest in, a ModelInferResponse out."""

from typing import Any

import numpy as np

from ...errors import BadRequest
from . import tessella_open_inference_pb2 as pb
from .infer import Inferred
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
from .rest_codec import raw

_CONTENTS = {"BYTES": "bytes_contents", "UINT8": "uint_contents", "FP32": "fp32_contents"}


def read_message(message: pb.ModelInferRequest) -> InferRequest:
    """A ModelInferRequest.

    Raises:
        BadRequest, Unsupported: with what was wrong and what would be right.
    """
    contents = message.raw_input_contents
    if contents and len(contents) != len(message.inputs):
        raise BadRequest(f"{len(contents)} raw_input_contents for {len(message.inputs)} inputs; send one for each")
    inputs = tuple(_input(tensor, contents[place] if contents else None) for place, tensor in enumerate(message.inputs))
    unique("input", [tensor.name for tensor in inputs])
    outputs = tuple(_output(output) for output in message.outputs)
    unique("output", [output.name for output in outputs])
    return InferRequest(inputs, outputs, message.id, *schedule_of(parameters_of(message)), binary=not is_typed(message))


def is_typed(message: pb.ModelInferRequest) -> bool:
    """Whether a request has its tensors as typed contents; the answer then has too."""
    return not message.raw_input_contents


def write_message(answer: Inferred, request_id: str, *, typed: bool) -> pb.ModelInferResponse:
    """A ModelInferResponse."""
    response = pb.ModelInferResponse(model_name=answer.model, model_version=answer.version, id=request_id)
    for output in answer.outputs:
        tensor = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if not typed:
            response.raw_output_contents.append(raw(output.values))
        elif isinstance(output.values, np.ndarray):
            tensor.contents.fp32_contents.extend(output.values.ravel().tolist())
        else:
            tensor.contents.bytes_contents.extend(element for row in output.values for element in row)
    return response


def parameters_of(message: Any) -> dict[str, Any]:
    """A message's map of parameters as Python values."""
    parameters = message.parameters
    return {
        name: getattr(value, choice)
        for name, value in parameters.items()
        if (choice := value.WhichOneof("parameter_choice"))
    }


def _input(tensor: pb.ModelInferRequest.InferInputTensor, content: bytes | None) -> Tensor:
    refuse_shared_memory(f"input {tensor.name!r}", parameters_of(tensor))
    shape = shape_of(tensor.name, list(tensor.shape))
    if content is not None:
        return Tensor(tensor.name, tensor.datatype, shape, memoryview(content))
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise BadRequest(
            f"input {tensor.name!r}: {tensor.datatype!r} has no typed contents here; use raw_input_contents"
        )
    return Tensor(tensor.name, tensor.datatype, shape, list(getattr(tensor.contents, field)))


def _output(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> RequestedOutput:
    parameters = parameters_of(output) | {"binary_data": True}  # REST's own; here it has no meaning
    return output_of(output.name, parameters, binary=True)

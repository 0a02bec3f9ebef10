"""Protobuf codec: typed and raw contents both ways, parameters, and messages that do not fit together."""

from typing import Any

import numpy as np
import pytest

from tessella.server.errors import BadRequest, Unsupported
from tessella.server.routes.open_inference import tessella_open_inference_pb2 as pb
from tessella.server.routes.open_inference.grpc_codec import has_typed_contents, read_message, write_message
from tessella.server.routes.open_inference.infer import InferResult, OutputTensor


def message_with(raw: list[bytes], **tensor: Any) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(id="a7", raw_input_contents=raw)
    message.inputs.add(**{"name": "pixels", "datatype": "UINT8", "shape": [1, 3], **tensor})
    return message


def test_raw_contents_are_read_without_a_copy() -> None:
    message = message_with([b"\1\2\3"])
    message.parameters["priority"].int64_param = 7
    message.outputs.add(name="logits").parameters["classification"].int64_param = 2
    request = read_message(message)
    (tensor,), (output,) = request.inputs, request.outputs
    assert isinstance(tensor.content, memoryview)
    assert (bytes(tensor.content), tensor.shape) == (b"\1\2\3", (1, 3))
    assert (request.id, request.priority, request.binary, output.classification) == ("a7", 7, True, 2)
    assert not has_typed_contents(message)


def test_typed_contents_are_read_as_elements() -> None:
    message = message_with([], contents=pb.InferTensorContents(uint_contents=[1, 2, 3]))
    request = read_message(message)
    assert (request.inputs[0].content, request.binary) == ([1, 2, 3], False)
    assert has_typed_contents(message)


@pytest.mark.parametrize(
    ("message", "error", "reason"),
    [
        (message_with([b"a", b"b"]), BadRequest, "2 raw_input_contents for 1 inputs"),
        (message_with([], datatype="FP16"), BadRequest, "typed contents are not supported for 'FP16'"),
        (message_with([b"a"], shape=[-1]), BadRequest, "dimensions must be integers"),
        (
            message_with([b"a"], parameters={"shared_memory_region": pb.InferParameter(string_param="r")}),
            Unsupported,
            "shared memory is not supported",
        ),
    ],
)
def test_invalid_messages(message: pb.ModelInferRequest, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        read_message(message)


@pytest.mark.parametrize("typed", [True, False])
def test_responses_have_the_contents_of_the_request(typed: bool) -> None:
    values = np.array([[0.5, 1.5]], np.float32)
    outputs = [OutputTensor("logits", values, True), OutputTensor("probabilities", [[b"0.9:1:dog"]], True)]
    response = write_message(InferResult("a", "1", outputs, []), "a7", typed=typed)
    assert (response.model_name, response.model_version, response.id) == ("a", "1", "a7")
    assert [(tensor.datatype, list(tensor.shape)) for tensor in response.outputs] == [
        ("FP32", [1, 2]),
        ("BYTES", [1, 1]),
    ]
    logits, top = response.outputs
    if typed:
        assert list(logits.contents.fp32_contents) == [0.5, 1.5]
        assert list(top.contents.bytes_contents) == [b"0.9:1:dog"]
    else:
        assert np.array_equal(np.frombuffer(response.raw_output_contents[0], np.float32), [0.5, 1.5])
        assert response.raw_output_contents[1] == b"\x09\0\0\x00" + b"0.9:1:dog"

"""Inference requests of the Open Inference Protocol, independent of transport. No JSON, no protobuf.

Source: github.com/kserve/open-inference-protocol, and Triton Inference Server's extensions of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ...errors import BadRequest, Unsupported

MAX_DIMENSIONS = 8
MAX_DIMENSION_SIZE = 2**31 - 1
MAX_PRIORITY = 100
MAX_TIMEOUT_US = 3_600_000_000

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InputTensor:
    """Input tensor as sent. `content`: little-endian bytes, or elements as a flat or nested list."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: memoryview | Sequence[Any]

    @property
    def element_count(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """Requested output. `classification`: number of top classes to return; 0: the tensor itself."""

    name: str
    classification: int = 0
    binary: bool = False


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Inference request. `timeout`: in seconds, None for the service's default. No `outputs`: all, `binary` or not."""

    inputs: tuple[InputTensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str = ""
    priority: int = 0
    timeout: float | None = None
    binary: bool = False


def parse_shape(name: str, dimensions: Any) -> tuple[int, ...]:
    """Shape of input `name`.

    Raises:
        BadRequest: it is not a list of at most `MAX_DIMENSIONS` non-negative integers.
    """
    if not isinstance(dimensions, Sequence) or isinstance(dimensions, str) or len(dimensions) > MAX_DIMENSIONS:
        raise BadRequest(f"input {name!r}: 'shape' must be a list of at most {MAX_DIMENSIONS} integers")
    for size in dimensions:
        if type(size) is not int or not 0 <= size <= MAX_DIMENSION_SIZE:
            raise BadRequest(
                f"input {name!r}: dimensions must be integers from 0 to {MAX_DIMENSION_SIZE}, not {size!r}"
            )
    return tuple(dimensions)


def parse_schedule(parameters: Parameters) -> tuple[int, float | None]:
    """Priority and timeout (in seconds) from a request's parameters.

    Raises:
        BadRequest: a value is out of range.
        Unsupported: the request belongs to a sequence.
    """
    if parameters.get("sequence_id"):
        raise Unsupported("sequence requests are not supported; omit 'sequence_id'")
    priority = parse_integer(parameters, "priority", MAX_PRIORITY)
    timeout = parse_integer(parameters, "timeout", MAX_TIMEOUT_US)
    return priority, timeout / 1e6 if timeout else None


def parse_output(name: str, parameters: Parameters, *, binary: bool) -> RequestedOutput:
    """Requested output `name` with its parameters.

    Args:
        binary: default for an output without the parameter `binary_data`.
    """
    reject_shared_memory(f"output {name!r}", parameters)
    binary = parameters.get("binary_data", binary)
    if not isinstance(binary, bool):
        raise BadRequest(f"output {name!r}: 'binary_data' must be true or false")
    return RequestedOutput(name, parse_integer(parameters, "classification", MAX_DIMENSION_SIZE), binary)


def reject_shared_memory(tensor: str, parameters: Parameters) -> None:
    """Reject a tensor in shared memory.

    Raises:
        Unsupported: the parameters refer to a shared memory region.
    """
    if any(name.startswith("shared_memory") for name in parameters):
        raise Unsupported(f"{tensor}: shared memory is not supported; transfer tensors in the request and response")


def parse_integer(parameters: Parameters, name: str, maximum: int) -> int:
    """Integer parameter from 0, its default, to `maximum`.

    Raises:
        BadRequest: it is not such an integer.
    """
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value <= maximum:
        raise BadRequest(f"parameter {name!r} must be an integer from 0 to {maximum}, not {value!r}")
    return value


def check_unique(kind: str, names: Sequence[str]) -> None:
    """Check that no input or output (`kind`) is given twice.

    Raises:
        BadRequest: a name occurs twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(f"{kind} {name!r} is given more than once")

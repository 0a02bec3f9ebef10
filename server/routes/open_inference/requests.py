"""An inference request of the Open Inference Protocol, whichever way it came. Knows neither JSON nor protobuf.

Source: github.com/kserve/open-inference-protocol, and Triton Inference Server's extensions of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ...errors import BadRequest, Unsupported

MOST_DIMENSIONS = 8
LARGEST_DIMENSION = 2**31 - 1
LARGEST_PRIORITY = 100
LONGEST_TIMEOUT_US = 3_600_000_000

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input as it was sent. `content`: its little-endian bytes, or its elements as a flat or nested list."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: memoryview | Sequence[Any]

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that is wanted. `classification`: as its so many best classes; 0: as the tensor itself."""

    name: str
    classification: int = 0
    binary: bool = False


@dataclass(frozen=True, slots=True)
class InferRequest:
    """`timeout` in seconds, None for the service's own; `outputs` empty: all of them, `binary` or not."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str = ""
    priority: int = 0
    timeout: float | None = None
    binary: bool = False


def shape_of(name: str, dimensions: Any) -> tuple[int, ...]:
    """Checks a shape.

    Raises:
        BadRequest: it is no short list of whole, non-negative numbers.
    """
    if not isinstance(dimensions, Sequence) or isinstance(dimensions, str) or len(dimensions) > MOST_DIMENSIONS:
        raise BadRequest(f"input {name!r}: 'shape' must be a list of at most {MOST_DIMENSIONS} whole numbers")
    for size in dimensions:
        if type(size) is not int or not 0 <= size <= LARGEST_DIMENSION:
            raise BadRequest(f"input {name!r}: a shape holds whole numbers from 0 to {LARGEST_DIMENSION}, not {size!r}")
    return tuple(dimensions)


def schedule_of(parameters: Parameters) -> tuple[int, float | None]:
    """(priority, timeout in seconds) of a request's parameters.

    Raises:
        BadRequest: a value that cannot be.
        Unsupported: the request belongs to a sequence.
    """
    if parameters.get("sequence_id"):
        raise Unsupported("sequences are not served: every image is a request of its own; leave 'sequence_id' away")
    priority = whole_number(parameters, "priority", LARGEST_PRIORITY)
    timeout = whole_number(parameters, "timeout", LONGEST_TIMEOUT_US)
    return priority, timeout / 1e6 if timeout else None


def output_of(name: str, parameters: Parameters, *, binary: bool) -> RequestedOutput:
    """An output and what its parameters ask for.

    Args:
        binary: what holds where the output itself does not say.
    """
    refuse_shared_memory(f"output {name!r}", parameters)
    binary = parameters.get("binary_data", binary)
    if not isinstance(binary, bool):
        raise BadRequest(f"output {name!r}: 'binary_data' must be true or false")
    return RequestedOutput(name, whole_number(parameters, "classification", LARGEST_DIMENSION), binary)


def refuse_shared_memory(what: str, parameters: Parameters) -> None:
    """
    Raises:
        Unsupported: the tensor is said to lie in shared memory.
    """
    if any(name.startswith("shared_memory") for name in parameters):
        raise Unsupported(f"{what}: shared memory is not served; send and receive tensors in the body")


def whole_number(parameters: Parameters, name: str, largest: int) -> int:
    """A parameter from 0, its default, to `largest`.

    Raises:
        BadRequest: it is something else.
    """
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value <= largest:
        raise BadRequest(f"parameter {name!r} must be a whole number from 0 to {largest}, not {value!r}")
    return value


def unique(what: str, names: Sequence[str]) -> None:
    """
    Raises:
        BadRequest: a name occurs twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(f"{what} {name!r} is given more than once")

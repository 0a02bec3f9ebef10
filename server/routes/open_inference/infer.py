"""Inference on a request's input tensor: images in, output tensors out. Shared by REST and gRPC."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ....models.preprocessing.images import Pixels
from ...engine.engine import AsyncEngine
from ...engine.results import Output as ImageOutput
from ...engine.results import probabilities
from ...engine.tasks import Task
from ...errors import BadRequest, ImageError
from ...settings import Settings
from .input_tensors import extract_images
from .metadata import OUTPUTS
from .requests import InferRequest, InputTensor, RequestedOutput

INLINE_BYTES = 1 << 16
INLINE_ELEMENTS = 1 << 13
"""Sizes up to which tensors are processed in the event loop; a thread costs more."""

T = TypeVar("T")
Values = NDArray[np.float32] | list[list[bytes]]


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """Output tensor: (N, classes) FP32, or BYTES of `classification` elements for each of N images."""

    name: str
    values: Values
    binary: bool
    """Whether REST sends it as bytes after the JSON."""

    @property
    def datatype(self) -> str:
        return "BYTES" if isinstance(self.values, list) else "FP32"

    @property
    def shape(self) -> list[int]:
        return [len(self.values), len(self.values[0])]

    @property
    def raw_bytes(self) -> bytes:
        """Little-endian bytes; each BYTES element follows its length in 4 bytes."""
        if isinstance(self.values, list):
            return b"".join(struct.pack("<I", len(element)) + element for row in self.values for element in row)
        return self.values.astype("<f4", copy=False).tobytes()


@dataclass(frozen=True, slots=True)
class InferResult:
    """Outputs of a request in the requested order, and the timings of its images."""

    model: str
    version: str
    outputs: list[OutputTensor]
    images: Sequence[ImageOutput] = field(repr=False)

    @property
    def element_count(self) -> int:
        return sum(prod(output.shape) for output in self.outputs)


async def infer(request: InferRequest, get_engine: Callable[[], AsyncEngine], settings: Settings) -> InferResult:
    """Run inference.

    Args:
        get_engine: current engine of the model; it may be replaced while the request is parsed.

    Raises:
        ServiceError: for the whole request, even if only one of its images is invalid.
    """
    requested = request.outputs or tuple(RequestedOutput(name, binary=request.binary) for name in OUTPUTS)
    for output in requested:
        if output.name not in OUTPUTS:
            raise BadRequest(f"unknown output {output.name!r}; available outputs: {', '.join(OUTPUTS)}")
    engine, images = await _parse_images(request, get_engine, settings.max_images)
    timeout = request.timeout or settings.timeout_ms / 1e3
    try:
        results = await engine.run_all(images, Task.LOGITS, timeout=timeout, priority=request.priority)
    except ImageError as error:  # in this protocol an invalid argument like any other
        raise BadRequest(str(error)) from error
    logits = np.stack([result.values for result in results])
    build = partial(_outputs, requested, logits, engine.info.labels)
    outputs = await offload(build, when=logits.size > INLINE_ELEMENTS)
    return InferResult(engine.name, str(engine.version), outputs, results)


async def offload(fn: Callable[[], T], *, when: bool) -> T:
    """Call `fn`, in a thread if `when`: it would block the event loop."""
    return await asyncio.to_thread(fn) if when else fn()


async def _parse_images(
    request: InferRequest, get_engine: Callable[[], AsyncEngine], max_images: int
) -> tuple[AsyncEngine, list[bytes | Pixels]]:
    """Engine and images; parsed again if the engine is replaced meanwhile, as its preprocessing may differ."""
    while True:
        engine = get_engine()
        parse = partial(extract_images, request.inputs, engine.info.preprocessing, max_images)
        images = await offload(parse, when=any(map(_is_slow, request.inputs)))
        if get_engine() is engine:
            return engine, images


def _is_slow(tensor: InputTensor) -> bool:
    """Check whether parsing a tensor belongs in a thread: it is large, or its elements are text or numbers."""
    if isinstance(tensor.content, memoryview):
        return len(tensor.content) > INLINE_BYTES
    return not all(isinstance(item, bytes) for item in tensor.content)


def _outputs(
    requested: Sequence[RequestedOutput], logits: NDArray[np.float32], labels: Sequence[str]
) -> list[OutputTensor]:
    return [_output(output, logits, labels) for output in requested]


def _output(output: RequestedOutput, logits: NDArray[np.float32], labels: Sequence[str]) -> OutputTensor:
    values = logits if output.name == "logits" else probabilities(logits).astype(np.float32)
    if not output.classification:
        return OutputTensor(output.name, values, output.binary)
    return OutputTensor(output.name, classifications(values, labels, output.classification), output.binary)


def classifications(values: NDArray[np.float32], labels: Sequence[str], count: int) -> list[list[bytes]]:
    """(N, classes) values -> for each row its `count` largest (or all) as `value:index:label`, largest first."""
    top = np.argsort(-values, axis=-1, kind="stable")[:, :count]
    return [
        [f"{row[index]:f}:{index}:{labels[index]}".encode() for index in indices]
        for row, indices in zip(values, top, strict=True)
    ]

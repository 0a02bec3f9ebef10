"""An inference request -> its output tensors. The same for REST and gRPC."""

import asyncio
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
from .input_tensors import images_of
from .metadata import OUTPUTS
from .requests import InferRequest, RequestedOutput, Tensor

INLINE_BYTES = 1 << 16
INLINE_ELEMENTS = 1 << 13
"""What is not larger is worked on in the event loop; a thread would cost more."""

T = TypeVar("T")
Values = NDArray[np.float32] | list[list[bytes]]


@dataclass(frozen=True, slots=True)
class Output:
    """An answer's tensor: (N, classes) FP32, or N lists of `classification` BYTES elements."""

    name: str
    values: Values
    binary: bool

    @property
    def datatype(self) -> str:
        return "BYTES" if isinstance(self.values, list) else "FP32"

    @property
    def shape(self) -> list[int]:
        return [len(self.values), len(self.values[0])]


@dataclass(frozen=True, slots=True)
class Inferred:
    """A request's outputs, in the order asked for, and what each image went through."""

    model: str
    version: str
    outputs: list[Output]
    images: Sequence[ImageOutput] = field(repr=False)

    @property
    def elements(self) -> int:
        return sum(prod(output.shape) for output in self.outputs)


async def infer(request: InferRequest, find: Callable[[], AsyncEngine], settings: Settings) -> Inferred:
    """Runs a request.

    Args:
        find: the engine that answers now; another one may while the request is read.

    Raises:
        ServiceError: for the request as a whole; one image that fails is enough.
    """
    wanted = request.outputs or tuple(RequestedOutput(name, binary=request.binary) for name in OUTPUTS)
    for output in wanted:
        if output.name not in OUTPUTS:
            raise BadRequest(f"there is no output {output.name!r}; ask for {' or '.join(OUTPUTS)}")
    engine, images = await _read(request, find, settings.max_images)
    timeout = request.timeout or settings.timeout_ms / 1e3
    try:
        done = await engine.run_all(images, Task.LOGITS, timeout=timeout, priority=request.priority)
    except ImageError as error:  # to this protocol an argument that is wrong, like any other
        raise BadRequest(str(error)) from error
    logits = np.stack([result.values for result in done])
    make = partial(_outputs, wanted, logits, engine.info.labels)
    outputs = await offload(make, when=logits.size > INLINE_ELEMENTS)
    return Inferred(engine.name, str(engine.version), outputs, done)


async def offload(work: Callable[[], T], *, when: bool) -> T:
    """Does `work`, in a thread where it takes so long that others would wait for it."""
    return await asyncio.to_thread(work) if when else work()


async def _read(
    request: InferRequest, find: Callable[[], AsyncEngine], most: int
) -> tuple[AsyncEngine, list[bytes | Pixels]]:
    while True:
        engine = find()
        read = partial(images_of, request.inputs, engine.info.preprocessing, most)
        images = await offload(read, when=any(map(_takes_time, request.inputs)))
        if find() is engine:
            return engine, images


def _takes_time(tensor: Tensor) -> bool:
    """Whether reading it is for a thread: megabytes, and elements that are text or numbers."""
    if isinstance(tensor.content, memoryview):
        return len(tensor.content) > INLINE_BYTES
    return not all(isinstance(item, bytes) for item in tensor.content)


def _outputs(wanted: Sequence[RequestedOutput], logits: NDArray[np.float32], labels: Sequence[str]) -> list[Output]:
    return [_output(output, logits, labels) for output in wanted]


def _output(output: RequestedOutput, logits: NDArray[np.float32], labels: Sequence[str]) -> Output:
    values = logits if output.name == "logits" else probabilities(logits).astype(np.float32)
    if not output.classification:
        return Output(output.name, values, output.binary)
    return Output(output.name, classifications(values, labels, output.classification), output.binary)


def classifications(values: NDArray[np.float32], labels: Sequence[str], most: int) -> list[list[bytes]]:
    """(N, classes) -> for each row its `most` largest (all, where there are fewer) as `value:index:label`."""
    best = np.argsort(-values, axis=-1, kind="stable")[:, :most]
    return [
        [f"{row[index]:f}:{index}:{labels[index]}".encode() for index in indices]
        for row, indices in zip(values, best, strict=True)
    ]

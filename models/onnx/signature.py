"""How pixels enter an .onnx file and where its logits leave: read from its inputs and outputs. Knows no runtime."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..preprocessing.preprocess import Preprocessing

Layout = Literal["NHWC", "NCHW"]
Shape = tuple[int | None, ...]
DTYPES = ("uint8", "float32", "float16")
LOGITS = "logits"
PIXELS = "pixels"
"""What the network itself takes: the input of a file of ours, or the value after the preprocessing in its graph."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its name, its numpy dtype's name, and its shape with None where it is free."""

    name: str
    dtype: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join('?' if side is None else str(side) for side in self.shape)})"


@dataclass(frozen=True, slots=True)
class Signature:
    """An image classifier's. `size`, `classes`, `batch`: None where the file leaves them free."""

    input: Port
    output: Port
    layout: Layout
    size: int | None
    classes: int | None
    batch: int | None

    @property
    def raw(self) -> bool:
        """Whether bytes enter, and normalisation is inside."""
        return self.input.dtype == "uint8"

    def feed(self, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.generic]:
        """uint8 (B, H, W, 3) -> what the input takes."""
        if self.raw:
            return pixels if self.layout == "NHWC" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        mean, std = (np.asarray(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
        images = (pixels.astype(np.float32) / 255 - mean) / std
        ordered = images if self.layout == "NHWC" else images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(ordered, dtype=self.input.dtype)


def read_signature(inputs: Sequence[Port], outputs: Sequence[Port], place: str) -> Signature:
    """The one image input and the output with one row of scores per image.

    Raises:
        CheckpointError: there is none such.
    """
    if len(inputs) != 1:
        raise CheckpointError(f"{place} has {len(inputs)} inputs ({_list(inputs)}); an image classifier has one")
    port = inputs[0]
    wanted = "uint8 or float images, (B, H, W, 3) or (B, 3, H, W)"
    if len(port.shape) != 4:
        raise CheckpointError(f"{place}: its input {port} has {len(port.shape)} dimensions; expected are {wanted}")
    if port.dtype not in DTYPES:
        raise CheckpointError(f"{place}: its input {port} is of another type; expected are {wanted}")
    layout, size = _layout(port, place, wanted)
    output = _output(outputs, place)
    return Signature(port, output, layout, size, output.shape[1], port.shape[0])


def _layout(port: Port, place: str, wanted: str) -> tuple[Layout, int | None]:
    _, *sides = port.shape
    if sides[2] == 3 and sides[0] != 3:
        layout, height, width = "NHWC", sides[0], sides[1]
    elif sides[0] == 3:
        layout, height, width = "NCHW", sides[1], sides[2]
    else:
        raise CheckpointError(f"{place}: its input {port} does not say where the 3 colours are; expected are {wanted}")
    if height != width:
        raise CheckpointError(f"{place}: its input {port} is no square; squares are served")
    return ("NHWC" if layout == "NHWC" else "NCHW"), height


def _output(outputs: Sequence[Port], place: str) -> Port:
    rows = [port for port in outputs if len(port.shape) == 2 and port.dtype.startswith("float")]
    named = [port for port in rows if port.name == LOGITS]
    if len(rows) > 1 and not named:
        _log.warning(
            "%s: any of its outputs %s may be the logits; the first is taken: name the right one %r to choose it",
            place,
            _list(rows),
            LOGITS,
        )
    if found := named or rows:
        return found[0]
    raise CheckpointError(
        f"{place} is no classifier: expected an output (images, classes) of floats, its outputs are {_list(outputs)}"
    )


def _list(ports: Sequence[Port]) -> str:
    return ", ".join(map(str, ports)) or "none"

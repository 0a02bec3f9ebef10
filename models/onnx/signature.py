"""Signature of an image classifier in an .onnx file, read from its inputs and outputs. No torch."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..preprocessing.preprocess import Preprocessing

DTYPES = ("uint8", "float32", "float16")
"""Dtypes of an image input."""
LOGITS = "logits"
PIXELS = "pixels"
"""Name of the network's input in our files: the graph's input, or the value after preprocessing in the graph."""
HUGGING_FACE_PIXELS = "pixel_values"
"""Name of the input in Hugging Face's exports, always (B, 3, H, W); optimum 1.x leaves all its sides dynamic."""
_EXPECTED = "uint8 or float images, (B, H, W, 3) or (B, 3, H, W)"

Layout = Literal["NHWC", "NCHW"]
Shape = tuple[int | None, ...]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, numpy dtype name and shape of an input or output; dynamic dimensions are None."""

    name: str
    dtype: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join('?' if side is None else str(side) for side in self.shape)})"


@dataclass(frozen=True, slots=True)
class Signature:
    """Input and output of an image classifier. `size`, `classes`, `batch`: None if dynamic."""

    input: TensorSpec
    output: TensorSpec
    layout: Layout
    size: int | None
    classes: int | None
    batch: int | None

    @property
    def raw(self) -> bool:
        """True for a uint8 input, with the normalisation inside the graph."""
        return self.input.dtype == "uint8"

    def feed(self, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.generic]:
        """Input of the graph: uint8 pixels (B, H, W, 3) -> its layout and dtype, normalised unless it is uint8."""
        if self.raw:
            return pixels if self.layout == "NHWC" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        mean, std = (np.asarray(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
        images = (pixels.astype(np.float32) / 255 - mean) / std
        ordered = images if self.layout == "NHWC" else images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(ordered, dtype=self.input.dtype)


def read_signature(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], path: Path) -> Signature:
    """Signature of a file: its one image input, and the output with one row of scores per image.

    Raises:
        CheckpointError: the file has no such input or output.
    """
    if len(inputs) != 1:
        raise CheckpointError(f"{path} has {len(inputs)} inputs ({_list(inputs)}); an image classifier has one")
    spec = inputs[0]
    if len(spec.shape) != 4:
        raise CheckpointError(f"{path}: its input {spec} has {len(spec.shape)} dimensions; expected are {_EXPECTED}")
    if spec.dtype not in DTYPES:
        raise CheckpointError(f"{path}: its input {spec} has an unsupported dtype; expected are {_EXPECTED}")
    layout, size = _layout(spec, path)
    output = _output(outputs, path)
    return Signature(spec, output, layout, size, output.shape[1], spec.shape[0])


def _layout(spec: TensorSpec, path: Path) -> tuple[Layout, int | None]:
    _, *sides = spec.shape
    if sides[2] == 3 and sides[0] != 3:
        layout, height, width = "NHWC", sides[0], sides[1]
    elif sides[0] == 3 or (sides == [None, None, None] and spec.name == HUGGING_FACE_PIXELS):
        layout, height, width = "NCHW", sides[1], sides[2]
    else:
        raise CheckpointError(f"{path}: the channel axis of its input {spec} is ambiguous; expected are {_EXPECTED}")
    if height != width:
        raise CheckpointError(f"{path}: its input {spec} is not square; only square inputs are supported")
    return ("NHWC" if layout == "NHWC" else "NCHW"), height


def _output(outputs: Sequence[TensorSpec], path: Path) -> TensorSpec:
    rows = [spec for spec in outputs if len(spec.shape) == 2 and spec.dtype.startswith("float")]
    named = [spec for spec in rows if spec.name == LOGITS]
    if len(rows) > 1 and not named:
        _log.warning(
            "%s: any of its outputs %s may be the logits; the first is used. Rename the right one to %r to select it",
            path,
            _list(rows),
            LOGITS,
        )
    if candidates := named or rows:
        return candidates[0]
    raise CheckpointError(
        f"{path} is not a classifier: expected a float output (images, classes), its outputs are {_list(outputs)}"
    )


def _list(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, specs)) or "none"

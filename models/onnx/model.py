"""Classifier from an .onnx file, in any runtime: uint8 pixels in, logits out. No torch."""

import re
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..preprocessing.images import Pixels
from .metadata import ModelMetadata
from .signature import Signature

Logits = NDArray[np.float32]
_MIN_PROBABILITY = np.finfo(np.float32).tiny


class OnnxModel(ABC):
    """Base class of the runtimes' models. A subclass loads the file, sets the attributes and calls `check`.

    Attributes:
        metadata: labels, preprocessing and origin.
        signature: input and output of the graph.
        backend, device, dtype: of the computation.
        choice: one sentence on runtime, provider and dtype.
        buckets: batch sizes that are compiled for, ascending; empty if any size runs as it is.
    """

    metadata: ModelMetadata
    signature: Signature
    path: Path
    backend: str
    device: str
    dtype: str
    choice: str
    buckets: tuple[int, ...] = ()
    _returns_probabilities: bool = False

    @abstractmethod
    def call(self, images: NDArray[np.generic]) -> NDArray[np.generic]:
        """Run the graph: images as its input takes them -> its output, (B, classes)."""

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 (B, H, W, 3) -> float32 (B, classes); log-probabilities if the file's output is probabilities.

        Raises:
            ValueError: another shape or dtype.
        """
        size = self.metadata.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
            shape = " × ".join(map(str, pixels.shape))
            raise ValueError(f"expected uint8 pixels (B, {size}, {size}, 3), got {pixels.dtype} of {shape}")
        scores = self._scores(pixels)
        return np.log(np.maximum(scores, _MIN_PROBABILITY)) if self._returns_probabilities else scores

    def check(self) -> None:
        """Test run on one image and on two, so that a broken file is refused when it is loaded.

        Raises:
            CheckpointError: the run fails, or its result is not one finite score per class.
        """
        size = self.metadata.preprocessing.size
        grey = np.linspace(0, 255, size * size * 3).astype(np.uint8).reshape(1, size, size, 3)
        for count in (1, 2):
            try:
                scores = self._scores(np.repeat(grey, count, axis=0))
            except Exception as error:  # the runtimes' exceptions have no common base
                raise CheckpointError(
                    f"{self.path} fails on {count} images of {size} pixels: {error_summary(error)}"
                ) from error
            if scores.shape != (count, len(self.metadata.labels)):
                shape = " × ".join(map(str, scores.shape))
                raise CheckpointError(
                    f"{self.path}: {shape} scores for {count} images and {len(self.metadata.labels)} labels"
                )
            if not np.isfinite(scores).all():
                raise CheckpointError(f"{self.path}: an image gives scores that are not finite")
        self._returns_probabilities = bool((scores >= 0).all() and (abs(scores.sum(axis=1) - 1) < 1e-3).all())

    def _scores(self, pixels: Pixels) -> Logits:
        if self.metadata.preprocesses:
            pixels = self.metadata.preprocessing.uncrop(pixels)
        images = self.signature.feed(pixels, self.metadata.preprocessing)
        if self.signature.batch is None:
            return np.asarray(self.call(images), np.float32)
        if self.signature.batch != 1:
            raise CheckpointError(
                f"{self.path} has a fixed batch of {self.signature.batch} images: export it with a dynamic batch"
            )
        return np.concatenate([np.asarray(self.call(images[i : i + 1]), np.float32) for i in range(len(images))])


def file_bytes(path: Path) -> int:
    """Size of a file in bytes, including external data in `<name>.data`."""
    data = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (data.stat().st_size if data.is_file() else 0)


def error_summary(error: Exception) -> str:
    """First relevant line of a runtime's error message, without locations in its source code."""
    line = (str(error).strip() or repr(error)).splitlines()[-1 if "Exception from" in str(error) else 0]
    line = re.sub(r"\S*onnxruntime_src/\S+:\d+ .*\) (?=[A-Z])", " ", line)
    return line if len(line) < 400 else f"{line[:400]} …"

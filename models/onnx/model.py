"""An .onnx file as a classifier, whichever runtime executes it: uint8 pixels in, logits out. Knows no torch."""

import re
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..preprocessing.images import Pixels
from .metadata import Card
from .signature import Signature

Logits = NDArray[np.float32]
_LEAST = np.finfo(np.float32).tiny


class OnnxModel(ABC):
    """What the runtimes share. A subclass loads the file, sets the attributes, and calls `check` when it can run.

    Attributes:
        card: labels, preprocessing and origin.
        signature: how pixels enter and logits leave.
        backend, device, dtype: what runs it, for people and programs.
        choice: a sentence on how it is run, for people.
        buckets: sizes of batch that it is prepared for; empty where any size is the same.
    """

    card: Card
    signature: Signature
    path: Path
    backend: str
    device: str
    dtype: str
    choice: str
    buckets: tuple[int, ...] = ()
    _gives_probabilities: bool = False

    @abstractmethod
    def call(self, images: NDArray[np.generic]) -> NDArray[np.generic]:
        """What the file's input takes -> its output, (B, classes)."""

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 (B, H, W, 3) -> float32 (B, classes): logarithms, where the file itself gives probabilities.

        Raises:
            ValueError: another shape or type.
        """
        size = self.card.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
            shape = " × ".join(map(str, pixels.shape))
            raise ValueError(f"expected uint8 pixels (B, {size}, {size}, 3), got {pixels.dtype} of {shape}")
        scores = self._scores(pixels)
        return np.log(np.maximum(scores, _LEAST)) if self._gives_probabilities else scores

    def check(self) -> None:
        """Runs the model once on one image and once on two, so that a file that cannot is refused when it is loaded.

        Raises:
            CheckpointError: the run fails, or its result is not one finite score per class.
        """
        size = self.card.preprocessing.size
        grey = np.linspace(0, 255, size * size * 3).astype(np.uint8).reshape(1, size, size, 3)
        for count in (1, 2):
            try:
                scores = self._scores(np.repeat(grey, count, axis=0))
            except Exception as error:  # whatever the runtime raises
                raise CheckpointError(
                    f"{self.path} fails on {count} images of {size} pixels: {reason(error)}"
                ) from error
            if scores.shape != (count, len(self.card.labels)):
                shape = " × ".join(map(str, scores.shape))
                raise CheckpointError(
                    f"{self.path}: {shape} scores for {count} images and {len(self.card.labels)} labels"
                )
            if not np.isfinite(scores).all():
                raise CheckpointError(f"{self.path}: an image gives scores that are not finite")
        self._gives_probabilities = bool((scores >= 0).all() and (abs(scores.sum(axis=1) - 1) < 1e-3).all())

    def _scores(self, pixels: Pixels) -> Logits:
        if self.card.preprocesses:
            pixels = self.card.preprocessing.uncrop(pixels)
        images = self.signature.feed(pixels, self.card.preprocessing)
        if self.signature.batch is None:
            return np.asarray(self.call(images), np.float32)
        if self.signature.batch != 1:
            raise CheckpointError(
                f"{self.path} takes exactly {self.signature.batch} images: export it with a free batch"
            )
        return np.concatenate([np.asarray(self.call(images[i : i + 1]), np.float32) for i in range(len(images))])


def bytes_of(path: Path) -> int:
    """Of a file, with the external data that an export of ours has beside it."""
    data = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (data.stat().st_size if data.is_file() else 0)


def reason(error: Exception) -> str:
    """A runtime's message without its further lines and its places in the runtime's own source."""
    line = (str(error).strip() or repr(error)).splitlines()[-1 if "Exception from" in str(error) else 0]
    line = re.sub(r"\S*onnxruntime_src/\S+:\d+ .*\) (?=[A-Z])", " ", line)
    return line if len(line) < 400 else f"{line[:400]} …"

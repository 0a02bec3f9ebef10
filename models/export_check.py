"""An exported file against the network it came from: the same photographs through a runtime and through PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from .errors import CheckpointError
from .networks import NormalizedNetwork
from .onnx_model import OnnxModel
from .photographs import photographs
from .preprocess import Preprocessing
from .tnt import TNT
from .vit import ViT

BATCH_SIZES = (1, 3, 8)
TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 0.1, "int8": 0.35}
"""Largest difference of logits, as a part of the largest logit, beyond which a file is not the network."""


class ExportError(RuntimeError):
    """The exported file does not do what the network does; the message says by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """`largest`: difference of a logit from PyTorch's float32; `scale`: PyTorch's largest. `agreement`: of top-1."""

    largest: float
    scale: float
    agreement: float

    @classmethod
    def of(cls, found: np.ndarray, expected: np.ndarray, **further: Any) -> Self:
        """Of logits (B, classes). `further`: what else the class has."""
        return cls(
            largest=float(np.abs(found - expected).max()),
            scale=float(np.abs(expected).max()),
            agreement=float((found.argmax(1) == expected.argmax(1)).mean()),
            **further,
        )

    def within(self, tolerance: float) -> bool:
        """Whether no logit is farther off than this part of the largest."""
        return self.largest <= tolerance * max(1.0, self.scale)

    @property
    def in_words(self) -> str:
        return f"{self.largest:.1e} of logits up to {self.scale:.3g}, top-1 agreement {self.agreement:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Likeness):
    """Of a runtime on `count` images of this origin."""

    runtime: str
    images: str
    count: int

    def __str__(self) -> str:
        return (
            f"{self.runtime} against PyTorch float32 on {self.count} {self.images} at batch "
            f"{', '.join(map(str, BATCH_SIZES))}: largest difference {self.in_words}"
        )


def verify(path: Path, network: ViT | TNT, preprocessing: Preprocessing, dtype: str) -> Verdict:
    """Runs the file at batch 1, 3 and 8.

    Args:
        network: as published, float32, on the CPU, in evaluation mode.
        dtype: of the file, or `int8`; decides how much may differ.

    Raises:
        ExportError: more does, or the file does not run here.
    """
    model = _load(path, dtype)
    pixels, images = photographs(preprocessing, sum(BATCH_SIZES))
    batches = np.split(pixels, np.cumsum(BATCH_SIZES)[:-1])
    expected = np.concatenate([published(network, batch, preprocessing) for batch in batches])
    found = np.concatenate([model.logits(batch) for batch in batches])
    verdict = Verdict.of(found, expected, runtime=model.backend, images=images, count=len(pixels))
    if not verdict.within(TOLERANCE[dtype]):
        raise ExportError(f"the exported file is not the network, and was removed: {verdict}")
    return verdict


def _load(path: Path, dtype: str) -> OnnxModel:
    """In onnxruntime, or, as that multiplies no bfloat16 on a CPU, in OpenVINO."""
    from .onnx_session import OnnxSession

    try:
        if dtype == "bfloat16":
            from .openvino_model import OpenVINOModel

            return OpenVINOModel(path, dtype="float32")
        return OnnxSession(path, device="cpu")
    except (CheckpointError, ValueError) as error:
        raise ExportError(f"the exported file could not be verified, and was removed: {error}") from error


@torch.inference_mode()
def published(network: ViT | TNT, pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 (B, size, size, 3) -> float32 logits (B, classes) of the network as published."""
    normalized = NormalizedNetwork(network, preprocessing.mean, preprocessing.std)
    logits: np.ndarray = normalized(torch.from_numpy(pixels)).numpy()
    return logits

"""An exported file against the network it came from: the same photographs through a runtime and through PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import CheckpointError
from ..networks.build import NormalizedNetwork
from ..networks.tnt import TNT
from ..networks.vit import ViT
from ..preprocessing.preprocess import Preprocessing
from ..preprocessing.sample_photos import sample_images, sample_pixels
from .model import OnnxModel
from .onnxruntime_model import CPU, load_session
from .signature import LOGITS, PIXELS

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
    pixels, images = sample_pixels(preprocessing, sum(BATCH_SIZES))
    batches = np.split(pixels, np.cumsum(BATCH_SIZES)[:-1])
    expected = np.concatenate([published(network, batch, preprocessing) for batch in batches])
    found = np.concatenate([model.logits(batch) for batch in batches])
    verdict = Verdict.of(found, expected, runtime=model.backend, images=images, count=len(pixels))
    if not verdict.within(TOLERANCE[dtype]):
        raise ExportError(f"the exported file is not the network, and was removed: {verdict}")
    return verdict


def _load(path: Path, dtype: str) -> OnnxModel:
    """In onnxruntime, or, as that multiplies no bfloat16 on a CPU, in OpenVINO."""
    from .onnxruntime_model import OnnxSession

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


LEVELS = 4
"""Of 255, that a pixel may be off: both round after each direction, and Pillow takes columns first in tall images."""
_ROUNDED = 2e-2
"""What such pixels may move logits by, as a part of the largest."""
_SHAPES = ((4, 3), (3, 4), (1, 1), (16, 9), (1, 3), (3, 1))
_SCALES = (0.7, 1.0, 2.3)
"""Shorter side of a photograph, over that of the resize: enlarged, kept, made smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessVerdict(Likeness):
    """`pixels`: largest difference, in levels of 255."""

    images: str
    count: int
    pixels: int

    def __str__(self) -> str:
        return (
            f"preprocessing in the graph against Pillow on {self.count} {self.images} of as many shapes: largest "
            f"difference {self.pixels} of 255 levels, {self.in_words}"
        )


def verify_preprocessing(path: Path, network: ViT | TNT, recipe: Preprocessing, dtype: str) -> PreprocessVerdict:
    """Runs a file made with preprocessing inside on photographs of many shapes.

    Args:
        network, dtype: as `verify`.

    Raises:
        ExportError: pixels or logits differ by more than roundings do, or the file does not run here.
    """
    images, origin = sample_images(_sizes(recipe.resize))
    expected = np.stack([recipe(image) for image in images])
    try:
        pixels, logits = _run(path, images)
    except Exception as error:  # whatever the runtime raises
        raise ExportError(f"the exported file could not be verified, and was removed: {error}") from error
    levels = int(np.abs(pixels.astype(int) - expected).max())
    wanted = published(network, expected, recipe)
    verdict = PreprocessVerdict.of(logits, wanted, images=origin, count=len(images), pixels=levels)
    if verdict.pixels > LEVELS or not verdict.within(TOLERANCE[dtype] + _ROUNDED):
        raise ExportError(f"the exported file does not preprocess as the checkpoint says, and was removed: {verdict}")
    return verdict


def _sizes(resize: int) -> list[tuple[int, int]]:
    """(width, height) of the photographs; odd ones among them."""
    shorter = [(width / min(width, height), height / min(width, height)) for width, height in _SHAPES]
    return [(round(resize * scale * w), round(resize * scale * h)) for scale in _SCALES for w, h in shorter]


def _run(path: Path, images: list[Image.Image]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pixels (B, size, size, 3) and logits (B, classes), each image run twice in one batch."""
    from .preprocess_graph import IMAGES

    whole = load_session(path, [(CPU, {})])
    prefix = load_session(_prefix(path), [(CPU, {})])
    found = []
    for image in images:
        batch = {IMAGES: np.stack([np.array(image)] * 2)}
        found.append((prefix.run([PIXELS], batch)[0][1], whole.run([LOGITS], batch)[0][1]))
    pixels, logits = zip(*found, strict=True)
    return np.stack(pixels), np.stack(logits)


def _prefix(path: Path) -> bytes:
    """The part of the file that preprocesses."""
    import onnx
    from onnx.utils import Extractor

    from .preprocess_graph import IMAGES

    model = onnx.load(path, load_external_data=False)
    return Extractor(model).extract_model([IMAGES], [PIXELS]).SerializeToString()

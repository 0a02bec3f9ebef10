"""Parity checks of an exported file: the same photographs through a runtime and through the network in PyTorch."""

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
from .onnxruntime_model import CPU, OnnxRuntimeModel, load_session
from .signature import LOGITS, PIXELS

BATCH_SIZES = (1, 3, 8)
TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 0.1, "int8": 0.35}
"""Maximum difference of a logit, relative to the largest logit, by the file's dtype."""
PIXEL_TOLERANCE = 4
"""Maximum difference of a preprocessed pixel, of 255 levels: both sides round after each pass, and Pillow may resize
columns before rows."""
_PIXEL_EFFECT = 2e-2
"""Tolerance of the logits, relative to the largest, for pixels within PIXEL_TOLERANCE."""
_ASPECT_RATIOS = ((4, 3), (3, 4), (1, 1), (16, 9), (1, 3), (3, 1))
_SCALES = (0.7, 1.0, 2.3)
"""Shorter side of a photograph relative to the resize: enlarged, unchanged, reduced."""


class ExportError(RuntimeError):
    """Parity failure: the exported file does not compute what the network does. The message states the difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Agreement of logits with PyTorch in float32.

    `largest`: maximum absolute difference of a logit. `scale`: largest absolute logit of PyTorch. `agreement`: share of
    images with the same top-1 class.
    """

    largest: float
    scale: float
    agreement: float

    @classmethod
    def of(cls, actual: np.ndarray, expected: np.ndarray, **fields: Any) -> Self:
        """Parity of two arrays of logits (B, classes); `fields`: further fields of the subclass."""
        return cls(
            largest=float(np.abs(actual - expected).max()),
            scale=float(np.abs(expected).max()),
            agreement=float((actual.argmax(1) == expected.argmax(1)).mean()),
            **fields,
        )

    def within(self, tolerance: float) -> bool:
        """True if no logit differs by more than `tolerance` times the largest logit, or 1."""
        return self.largest <= tolerance * max(1.0, self.scale)

    @property
    def summary(self) -> str:
        """Difference, scale and top-1 agreement as text."""
        return f"{self.largest:.1e} of logits up to {self.scale:.3g}, top-1 agreement {self.agreement:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport(Parity):
    """Parity of a file in a runtime, on `count` images; `images` names their origin."""

    runtime: str
    images: str
    count: int

    def __str__(self) -> str:
        return (
            f"{self.runtime} against PyTorch float32 on {self.count} {self.images} at batch "
            f"{', '.join(map(str, BATCH_SIZES))}: largest difference {self.summary}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingParityReport(Parity):
    """Parity of preprocessing in the graph. `pixels`: maximum difference of a pixel, of 255 levels."""

    images: str
    count: int
    pixels: int

    def __str__(self) -> str:
        return (
            f"preprocessing in the graph against Pillow on {self.count} {self.images} of as many shapes: largest "
            f"difference {self.pixels} of 255 levels, {self.summary}"
        )


def verify(path: Path, network: ViT | TNT, preprocessing: Preprocessing, dtype: str) -> ParityReport:
    """Compare a file with its network at batch 1, 3 and 8.

    Args:
        network: as published, float32, on the CPU, in evaluation mode.
        dtype: of the file, or `int8`; selects the tolerance.

    Raises:
        ExportError: a difference above the tolerance, or the file does not run here.
    """
    model = _load(path, dtype)
    pixels, origin = sample_pixels(preprocessing, sum(BATCH_SIZES))
    batches = np.split(pixels, np.cumsum(BATCH_SIZES)[:-1])
    expected = np.concatenate([plain_logits(network, batch, preprocessing) for batch in batches])
    actual = np.concatenate([model.logits(batch) for batch in batches])
    report = ParityReport.of(actual, expected, runtime=model.backend, images=origin, count=len(pixels))
    if not report.within(TOLERANCE[dtype]):
        raise ExportError(f"the exported file does not reproduce the network's logits, and was removed: {report}")
    return report


def verify_preprocessing(
    path: Path, network: ViT | TNT, preprocessing: Preprocessing, dtype: str
) -> PreprocessingParityReport:
    """Compare a file with preprocessing in its graph with Pillow and the network, on photographs of many shapes.

    Args:
        network, dtype: as `verify`.

    Raises:
        ExportError: pixels or logits differ by more than rounding, or the file does not run here.
    """
    images, origin = sample_images(_image_sizes(preprocessing.resize))
    expected = np.stack([preprocessing(image) for image in images])
    try:
        pixels, logits = _run(path, images)
    except Exception as error:  # the runtime's exceptions have no common base
        raise ExportError(f"the exported file could not be verified, and was removed: {error}") from error
    difference = int(np.abs(pixels.astype(int) - expected).max())
    reference = plain_logits(network, expected, preprocessing)
    report = PreprocessingParityReport.of(logits, reference, images=origin, count=len(images), pixels=difference)
    if report.pixels > PIXEL_TOLERANCE or not report.within(TOLERANCE[dtype] + _PIXEL_EFFECT):
        raise ExportError(f"the exported file does not reproduce the preprocessing, and was removed: {report}")
    return report


@torch.inference_mode()
def plain_logits(network: ViT | TNT, pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Logits of the network as published: uint8 (B, size, size, 3) -> float32 (B, classes)."""
    normalized = NormalizedNetwork(network, preprocessing.mean, preprocessing.std)
    logits: np.ndarray = normalized(torch.from_numpy(pixels)).numpy()
    return logits


def _load(path: Path, dtype: str) -> OnnxModel:
    """Model in ONNX Runtime; in OpenVINO for bfloat16, which ONNX Runtime does not compute on a CPU."""
    try:
        if dtype == "bfloat16":
            from .openvino_model import OpenVINOModel

            return OpenVINOModel(path, dtype="float32")
        return OnnxRuntimeModel(path, device="cpu")
    except (CheckpointError, ValueError) as error:
        raise ExportError(f"the exported file could not be verified, and was removed: {error}") from error


def _image_sizes(resize: int) -> list[tuple[int, int]]:
    """(width, height) of the photographs, odd lengths among them."""
    shapes = [(width / min(width, height), height / min(width, height)) for width, height in _ASPECT_RATIOS]
    return [(round(resize * scale * w), round(resize * scale * h)) for scale in _SCALES for w, h in shapes]


def _run(path: Path, images: list[Image.Image]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pixels (B, size, size, 3) and logits (B, classes) of a file; each image is the second of a batch of two."""
    from .preprocess_graph import IMAGES

    model = load_session(path, [(CPU, {})])
    preprocessing = load_session(_preprocessing_graph(path), [(CPU, {})])
    results = []
    for image in images:
        batch = {IMAGES: np.stack([np.array(image)] * 2)}
        results.append((preprocessing.run([PIXELS], batch)[0][1], model.run([LOGITS], batch)[0][1]))
    pixels, logits = zip(*results, strict=True)
    return np.stack(pixels), np.stack(logits)


def _preprocessing_graph(path: Path) -> bytes:
    """Subgraph of a file from its images to the preprocessed pixels, serialised."""
    import onnx
    from onnx.utils import Extractor

    from .preprocess_graph import IMAGES

    model = onnx.load(path, load_external_data=False)
    return Extractor(model).extract_model([IMAGES], [PIXELS]).SerializeToString()

"""Preprocessing inside an exported graph against Pillow's: photographs of many shapes through both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .export_check import TOLERANCE, ExportError, Likeness, published
from .onnx_gpu import CPU
from .onnx_session import load_session
from .onnx_signature import LOGITS, PIXELS
from .photographs import uncropped
from .preprocess import Preprocessing
from .tnt import TNT
from .vit import ViT

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
    images, origin = uncropped(_sizes(recipe.resize))
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
    from .onnx_preprocess import IMAGES

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

    from .onnx_preprocess import IMAGES

    model = onnx.load(path, load_external_data=False)
    return Extractor(model).extract_model([IMAGES], [PIXELS]).SerializeToString()

"""Strokes of 8×8 digits: the smoothly enlarged digit, and centre lines for redrawing it with any pen."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .dataset import Digits

CELL = 6
"""Field pixels per digit pixel."""
MARGIN = 2
"""Empty digit pixels around a digit."""
FIELD_CELLS = 8 + 2 * MARGIN
_ALTERNATIVES = 6
_LOOPS = {0: {1}, 1: {0}, 2: {0, 1}, 3: {0}, 4: {0, 1}, 5: {0}, 6: {1}, 7: {0, 1}, 8: {2}, 9: {1}}


@dataclass(frozen=True, slots=True)
class Ink:
    """Fields over digits with an empty margin, CELL field pixels for each digit pixel.

    `tone`: float (N, 1, S, S), the enlarged digit, 0 paper to 1 ink. `distance`: float (N, alternatives, S, S), to the
    nearest stroke's centre line, in digit pixels. `traceable`: bool (N,), true if a tracing has the digit's
    number of loops; the distances of other digits are meaningless.
    """

    tone: Tensor
    distance: Tensor
    traceable: Tensor


def trace(digits: Digits) -> Ink:
    """Trace every digit. Needs scikit-image and SciPy; takes about ten milliseconds per digit."""
    tones = [_enlarge(image) for image in digits.images]
    distances = [_tracings(tone, int(label)) for tone, label in zip(tones, digits.labels, strict=True)]
    return Ink(
        tone=torch.from_numpy(np.stack(tones))[:, None],
        distance=torch.from_numpy(np.stack([_fill_alternatives(fields) for fields in distances])),
        traceable=torch.tensor([bool(fields) for fields in distances]),
    )


def _enlarge(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Enlarged digit: uint8 (8, 8) -> float32 (S, S), 0..1."""
    side = FIELD_CELLS * CELL
    padded = Image.fromarray(np.pad(image, MARGIN)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(padded).astype(np.float32) / np.float32(255)


def _tracings(tone: NDArray[np.float32], label: int) -> list[NDArray[np.float32]]:
    """Distances to the centre lines, for every threshold whose strokes have the digit's number of loops.

    Absolute thresholds keep faint strokes; thresholds relative to the neighbourhood keep small loops open.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.measure import label as components
    from skimage.morphology import skeletonize

    local = tone - gaussian_filter(tone, 1.3 * CELL)
    masks = [(local > level) & (tone > 0.2) for level in (0.02, 0.06, 0.1)] + [
        tone > level for level in (0.35, 0.5, 0.62)
    ]
    lines = [skeletonize(mask) for mask in masks]
    return [
        (distance_transform_edt(~line) / CELL).astype(np.float32)
        for line in lines
        if components(line, connectivity=2).max() == 1 and components(~line, connectivity=1).max() - 1 in _LOOPS[label]
    ]


def _fill_alternatives(fields: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Exactly _ALTERNATIVES fields, repeated cyclically; constant if there is none."""
    side = FIELD_CELLS * CELL
    constant = [np.full((side, side), FIELD_CELLS, dtype=np.float32)]
    return np.stack([(fields or constant)[i % max(1, len(fields))] for i in range(_ALTERNATIVES)])

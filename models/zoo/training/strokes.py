"""Strokes of each 8×8 digit: enlarged smoothly, and as centre lines that any pen can ink again."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .dataset import Digits

CELL = 6  # field pixels per pixel of a digit
MARGIN = 2  # empty digit pixels around a digit
FIELD_CELLS = 8 + 2 * MARGIN
_ALTERNATIVES = 6
_HOLES = {0: {1}, 1: {0}, 2: {0, 1}, 3: {0}, 4: {0, 1}, 5: {0}, 6: {1}, 7: {0, 1}, 8: {2}, 9: {1}}


@dataclass(frozen=True, slots=True)
class Ink:
    """Fields over digits with an empty margin; a pixel of the digit is `CELL` pixels of a field wide.

    `tone`: float (N, 1, S, S), the enlarged digit, 0 paper to 1 ink. `distance`: float (N, alternatives, S, S), how far
    the nearest stroke's centre line is, in digit pixels. `traceable`: bool (N,), whether a tracing with this digit's
    loops was found; the distances of the others are meaningless.
    """

    tone: Tensor
    distance: Tensor
    traceable: Tensor


def trace(digits: Digits) -> Ink:
    """The fields of every digit. Needs scikit-image and SciPy; about ten milliseconds a digit."""
    tones = [_enlarge(image) for image in digits.images]
    distances = [_tracings(tone, int(label)) for tone, label in zip(tones, digits.labels, strict=True)]
    return Ink(
        tone=torch.from_numpy(np.stack(tones))[:, None],
        distance=torch.from_numpy(np.stack([_repeat(found) for found in distances])),
        traceable=torch.tensor([bool(found) for found in distances]),
    )


def _enlarge(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(8, 8) uint8 -> (S, S), 0..1."""
    side = FIELD_CELLS * CELL
    padded = Image.fromarray(np.pad(image, MARGIN)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(padded).astype(np.float32) / np.float32(255)


def _tracings(tone: NDArray[np.float32], label: int) -> list[NDArray[np.float32]]:
    """Distances to the centre lines, for every threshold whose strokes have as many loops as the digit when written.

    Thresholds are absolute, which keeps faint strokes, or against the neighbourhood, which keeps small loops open.
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
        if components(line, connectivity=2).max() == 1 and components(~line, connectivity=1).max() - 1 in _HOLES[label]
    ]


def _repeat(found: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    side = FIELD_CELLS * CELL
    nothing = [np.full((side, side), FIELD_CELLS, dtype=np.float32)]
    return np.stack([(found or nothing)[i % max(1, len(found))] for i in range(_ALTERNATIVES)])

"""Dataset: scikit-learn's 1,797 handwritten digits of 8×8 pixels, in one fixed split, as images and PNG files."""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SPLIT_SEED = 2010
LABELS = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class Digits:
    """`images`: uint8 (N, 8, 8), light ink on dark. `labels`: int64 (N,). `indices`: rows of the original data."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 of images and labels, in hexadecimal; it depends on their order."""
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Split:
    """Stratified split: three, one and one fifth of the data."""

    train: Digits
    validation: Digits
    test: Digits


def load_split(seed: int = SPLIT_SEED) -> Split:
    """Load the data in three disjoint parts. It ships with scikit-learn; nothing is downloaded."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    images = (source.images * (255 / 16)).round().astype(np.uint8)
    labels = source.target.astype(np.int64)
    everything = np.arange(len(labels), dtype=np.int64)
    rest, test = train_test_split(everything, test_size=1 / 5, stratify=labels, random_state=seed)
    train, validation = train_test_split(rest, test_size=1 / 4, stratify=labels[rest], random_state=seed)
    return Split(*(Digits(images[part], labels[part], part) for part in (train, validation, test)))


def picture(image: NDArray[np.uint8]) -> Image.Image:
    """Grayscale image of one digit, uint8 (8, 8)."""
    return Image.fromarray(image)


def png(image: NDArray[np.uint8]) -> bytes:
    """PNG file of one digit, uint8 (8, 8)."""
    buffer = io.BytesIO()
    picture(image).save(buffer, format="PNG")
    return buffer.getvalue()

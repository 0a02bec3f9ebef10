"""The data: scikit-learn's 1,797 handwritten digits of 8×8 pixels, in one fixed split, as pictures that users post."""

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
    """`images`: uint8 (N, 8, 8), light ink on dark. `labels`: int64 (N,). `indices`: places in the original data."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 of images and labels: two sets with the same digest are the same set in the same order."""
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Split:
    """Three, one and one fifth of the data, each with every digit in proportion."""

    train: Digits
    validation: Digits
    test: Digits


def load_split(seed: int = SPLIT_SEED) -> Split:
    """The data set in three disjoint parts. Needs scikit-learn, which carries the data: nothing is downloaded."""
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
    """One digit, uint8 (8, 8), as a grayscale image of 8×8 pixels."""
    return Image.fromarray(image)


def png(image: NDArray[np.uint8]) -> bytes:
    """One digit, uint8 (8, 8), as the PNG file that `POST /classify` takes."""
    buffer = io.BytesIO()
    picture(image).save(buffer, format="PNG")
    return buffer.getvalue()

"""Evaluation on digits: accuracy through the preprocessing that is served."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ....kernels.reference import normalise
from ...networks.build import NormalizedNetwork
from ...preprocessing.preprocess import Preprocessing
from .dataset import Digits, picture
from .synthetic import pen_digits


def pixels(images: Iterable[Image.Image], preprocessing: Preprocessing) -> Tensor:
    """Preprocessed images, uint8 (N, size, size, 3)."""
    return torch.from_numpy(np.stack([preprocessing(image.convert("RGB")) for image in images]))


@dataclass(frozen=True, slots=True)
class ValidationSets:
    """Preprocessed validation sets by name, for the selection of seeds and recipes."""

    sets: dict[str, tuple[Tensor, NDArray[np.int64]]]
    preprocessing: Preprocessing

    @classmethod
    def of(cls, validation: Digits, preprocessing: Preprocessing) -> "ValidationSets":
        """Validation sets: `validation`, the same `inverted`, synthetic `pen` drawings, and these on `paper`."""
        plain = cls.plain(validation, preprocessing)
        drawn = {"pen": pen_digits(), "paper": pen_digits(photographed=True)}
        return cls(
            {"validation": (plain, validation.labels), "inverted": (255 - plain, validation.labels)}
            | {name: (pixels(digits.images, preprocessing), digits.labels) for name, digits in drawn.items()},
            preprocessing,
        )

    @staticmethod
    def plain(digits: Digits, preprocessing: Preprocessing) -> Tensor:
        """Preprocessed images of the data set's own digits, uint8 (N, size, size, 3)."""
        return pixels(map(picture, digits.images), preprocessing)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Accuracy in each set, 0 to 1."""
        return {
            name: round(accuracy(predict(network, images, self.preprocessing), labels), 5)
            for name, (images, labels) in self.sets.items()
        }


def network_input(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Normalised images: uint8 (B, S, S, 3) -> float32 (B, 3, S, S)."""
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    return normalise(pixels, mean, std, torch.float32)


def predict(network: nn.Module, pixels: Tensor, preprocessing: Preprocessing, batch: int = 128) -> NDArray[np.int64]:
    """Predicted class of each image, int64 (N,)."""
    normalized = NormalizedNetwork(network, preprocessing.mean, preprocessing.std).eval()
    with torch.inference_mode():
        logits = [normalized(part) for part in pixels.split(batch)]
    return torch.cat(logits).argmax(dim=1).numpy()


def accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of correct predictions, 0 to 1."""
    return float((predicted == labels).mean())


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int = 10) -> list[list[int]]:
    """Confusion matrix: counts by true class (row) and predicted class (column)."""
    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (labels, predicted), 1)
    return table.tolist()

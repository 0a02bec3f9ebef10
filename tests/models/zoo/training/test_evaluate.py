"""Evaluation: validation sets, predictions, accuracy and the confusion matrix."""

import numpy as np
import torch
from torch import Tensor, nn

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.zoo.training.dataset import Digits
from tessella.models.zoo.training.evaluate import ValidationSets, accuracy, confusion, network_input, predict

PREPROCESSING = Preprocessing(size=8, resize=8)
LABELS = np.array([0, 1, 2, 1])


class Brightness(nn.Module):
    """Class 1 for bright images, else class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([-1.0, 1.0]))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3))[:, None] * self.scale


def test_accuracy_and_confusion() -> None:
    predicted = np.array([0, 1, 1, 1])
    assert accuracy(predicted, LABELS) == 0.75
    assert confusion(predicted, LABELS, classes=3) == [[1, 0, 0], [0, 2, 0], [0, 1, 0]]


def test_predictions_are_independent_of_the_batch_size() -> None:
    pixels = torch.tensor([0, 255, 20, 200, 255], dtype=torch.uint8)[:, None, None, None].expand(-1, 8, 8, 3)
    for batch in (1, 2, 128):
        assert predict(Brightness(), pixels, PREPROCESSING, batch).tolist() == [0, 1, 0, 1, 1]


def test_network_input_is_normalised() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(-1, 8, 8, 3)
    images = network_input(pixels, PREPROCESSING)
    assert images.shape == (2, 3, 8, 8)
    assert images.amin(dim=(1, 2, 3)).tolist() == [-1.0, 1.0]


def test_validation_sets_hold_both_polarities_and_synthetic_digits() -> None:
    digits = Digits(np.full((3, 8, 8), 255, np.uint8), np.array([1, 1, 0]), np.arange(3))
    sets = ValidationSets.of(digits, PREPROCESSING)
    assert set(sets.sets) == {"validation", "inverted", "pen", "paper"}
    accuracies = sets.evaluate(Brightness())
    assert (accuracies["validation"], accuracies["inverted"]) == (0.66667, 0.33333)

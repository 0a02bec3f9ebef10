"""Feature embedding: images of one class lie together, and every class is in the legend."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import silhouette_score

from tessella.models.visualization.feature_embedding import Embedding, draw, embed, numbers
from tessella.models.visualization.subject import Subject
from tessella.models.zoo.training.dataset import load_split, picture

COUNT = 60


@pytest.fixture(scope="module")
def digits() -> tuple[list[Image.Image], list[str]]:
    test = load_split().test
    return [picture(image).convert("RGB") for image in test.images[:COUNT]], [str(one) for one in test.labels[:COUNT]]


@pytest.fixture(scope="module")
def embedding(digits: tuple[list[Image.Image], list[str]]) -> Embedding:
    return embed(Subject.load("digits-tnt"), digits[0])


def test_trained_features_of_one_digit_lie_together(
    embedding: Embedding, digits: tuple[list[Image.Image], list[str]]
) -> None:
    assert embedding.pca.shape == embedding.tsne.shape == (COUNT, 2)
    assert silhouette_score(embedding.tsne, digits[1]) > 0.4
    assert 0 < embedding.explained[1] <= embedding.explained[0] < 1


def test_the_picture_names_every_class(
    embedding: Embedding, digits: tuple[list[Image.Image], list[str]], tmp_path: Path
) -> None:
    file = tmp_path / "embedding.svg"
    draw([embedding], digits[1], file)
    text = file.read_text()
    for part in ("digits-tnt: t-SNE", "% of the variance", *(f">{digit}<" for digit in range(10))):
        assert part in text
    document = numbers([embedding], digits[1], ["one.png"] * COUNT)
    assert len(document["models"][0]["tsne"]) == len(document["classes"]) == COUNT


def test_layers_differ_and_are_checked(digits: tuple[list[Image.Image], list[str]]) -> None:
    subject, images = Subject.load("digits-vit"), digits[0][:5]
    first, last = (embed(subject, images, layer) for layer in (1, 4))
    assert not np.allclose(first.pca, last.pca)
    with pytest.raises(ValueError, match="layers 1 to 4, not 9"):
        embed(subject, images, 9)
    with pytest.raises(ValueError, match="4 images or more, not 3"):
        embed(subject, images[:3])

"""Feature embedding of many images in two dimensions, coloured by class: PCA and t-SNE. Needs scikit-learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from .figure import MARKERS, OKABE_ITO, figure, save, styled
from .panels import Floats
from .subject import Subject

BATCH_SIZE = 32
MIN_IMAGES = 4
"""Lower limit for the neighbourhoods of t-SNE."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Embedding of N images. `pca`, `tsne`: float32 (N, 2). `explained`: share of variance of each PCA component."""

    model: str
    pca: Floats
    tsne: Floats
    explained: tuple[float, float]


def embed(subject: Subject, images: Sequence[Image.Image], layer: int | None = None) -> Embedding:
    """Embed the head's input of each image, or the mean over all tokens after one layer, in two dimensions.

    Raises:
        ValueError: too few images, or no such layer.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(images) < MIN_IMAGES:
        raise ValueError(f"an embedding needs {MIN_IMAGES} images or more, not {len(images)}")
    features = _features(subject, images, layer)
    axes = PCA(2, random_state=0)
    pca = axes.fit_transform(features)
    perplexity = min(30.0, (len(images) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(features)
    shares = axes.explained_variance_ratio_
    return Embedding(subject.name, pca.astype(np.float32), tsne, (float(shares[0]), float(shares[1])))


def draw(embeddings: Sequence[Embedding], classes: Sequence[str], path: Path) -> None:
    """Draw one row per network; a point is an image, its colour and marker are its class."""
    with styled():
        page = figure(10.0, 4.6 * len(embeddings))
        axes = page.subplots(len(embeddings), 2, squeeze=False)
        for embedding, (left, right) in zip(embeddings, axes, strict=True):
            _scatter(left, embedding.pca, classes, f"{embedding.model}: PCA")
            left.set(xlabel=_component_label(1, embedding), ylabel=_component_label(2, embedding))
            _scatter(right, embedding.tsne, classes, f"{embedding.model}: t-SNE")
            right.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        page.legend(handles, labels, loc="outside right upper", title="class", frameon=False)
        save(page, path)


def numbers(embeddings: Sequence[Embedding], classes: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    """JSON document of the embeddings."""
    return {
        "files": list(files),
        "classes": list(classes),
        "models": [
            {"model": each.model, "pca": each.pca.tolist(), "pca_explained": each.explained, "tsne": each.tsne.tolist()}
            for each in embeddings
        ],
    }


@torch.inference_mode()
def _features(subject: Subject, images: Sequence[Image.Image], layer: int | None) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(images), BATCH_SIZE):
        pixels = np.stack([subject.preprocessing(image) for image in images[start : start + BATCH_SIZE]])
        parts.append(subject.features(pixels, layer))
    return torch.cat(parts).double().numpy()


def _scatter(axes: Axes, points: Floats, classes: Sequence[str], title: str) -> None:
    class_of = np.array(classes)
    for index, name in enumerate(sorted(set(classes))):
        members = points[class_of == name]
        colour, marker = OKABE_ITO[index % len(OKABE_ITO)], MARKERS[index % len(MARKERS)]
        axes.scatter(
            members[:, 0], members[:, 1], s=18, color=colour, marker=marker, label=name, alpha=0.8, linewidths=0
        )
    axes.set_title(title)


def _component_label(component: int, embedding: Embedding) -> str:
    return f"component {component} ({embedding.explained[component - 1]:.0%} of the variance)"

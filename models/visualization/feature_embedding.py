"""Features of many images in two dimensions, coloured by class: PCA and t-SNE. Needs scikit-learn."""

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

BATCH = 32
LEAST = 4  # images, for t-SNE to have neighbours


@dataclass(frozen=True, slots=True)
class Embedding:
    """`pca`, `tsne`: float32 (N, 2). `explained`: the shares of the variance along the two axes of PCA."""

    model: str
    pca: Floats
    tsne: Floats
    explained: tuple[float, float]


def embed(subject: Subject, images: Sequence[Image.Image], layer: int | None = None) -> Embedding:
    """What the head reads of each image, or the mean over all tokens after one layer, in two dimensions.

    Raises:
        ValueError: too few images, or no such layer.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(images) < LEAST:
        raise ValueError(f"an embedding needs {LEAST} images or more, not {len(images)}")
    features = _features(subject, images, layer)
    axes = PCA(2, random_state=0)
    pca = axes.fit_transform(features)
    perplexity = min(30.0, (len(images) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(features)
    shares = axes.explained_variance_ratio_
    return Embedding(subject.name, pca.astype(np.float32), tsne, (float(shares[0]), float(shares[1])))


def draw(embeddings: Sequence[Embedding], classes: Sequence[str], path: Path) -> None:
    """A row per network; a point is an image, its colour and shape its class."""
    with styled():
        drawn = figure(10.0, 4.6 * len(embeddings))
        axes = drawn.subplots(len(embeddings), 2, squeeze=False)
        for one, (left, right) in zip(embeddings, axes, strict=True):
            _scatter(left, one.pca, classes, f"{one.model}: PCA")
            left.set(xlabel=_share(1, one), ylabel=_share(2, one))
            _scatter(right, one.tsne, classes, f"{one.model}: t-SNE")
            right.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside right upper", title="class", frameon=False)
        save(drawn, path)


def numbers(embeddings: Sequence[Embedding], classes: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    return {
        "files": list(files),
        "classes": list(classes),
        "models": [
            {"model": one.model, "pca": one.pca.tolist(), "pca_explained": one.explained, "tsne": one.tsne.tolist()}
            for one in embeddings
        ],
    }


@torch.inference_mode()
def _features(subject: Subject, images: Sequence[Image.Image], layer: int | None) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(images), BATCH):
        pixels = np.stack([subject.preprocessing(image) for image in images[start : start + BATCH]])
        parts.append(subject.features(pixels, layer))
    return torch.cat(parts).double().numpy()


def _scatter(axes: Axes, points: Floats, classes: Sequence[str], title: str) -> None:
    owner = np.array(classes)
    for place, name in enumerate(sorted(set(classes))):
        chosen = points[owner == name]
        colour, marker = OKABE_ITO[place % len(OKABE_ITO)], MARKERS[place % len(MARKERS)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=18, color=colour, marker=marker, label=name, alpha=0.8, linewidths=0)
    axes.set_title(title)


def _share(axis: int, one: Embedding) -> str:
    return f"component {axis} ({one.explained[axis - 1]:.0%} of the variance)"

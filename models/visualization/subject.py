"""Subject of the figures: a network with its preprocessing, and the view of one image through it."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..checkpoints.sources import onnx_file, served_name
from ..explain.explain import Explanation, explain
from ..explain.hooks import layer_hooks
from ..networks.build import NormalizedNetwork, build
from ..networks.tnt import TNT
from ..networks.vit import ViT
from ..preprocessing import preprocessor_configs
from ..preprocessing.preprocess import Preprocessing
from ..registry import describe, load_network
from ..variants import find_variant


def random_network(architecture: str, seed: int = 0) -> tuple[ViT | TNT, Preprocessing]:
    """Network with initial weights, in evaluation mode, float32, on the CPU, and timm's usual preprocessing for it.

    Raises:
        ValueError: an unknown architecture.
    """
    config = find_variant(architecture)
    if config is None:
        raise ValueError(f"{architecture!r} is not a known architecture; `tessella models` lists them")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build(config)
    preprocessing = preprocessor_configs.default_preprocessing(architecture, config.image_size)
    return network.requires_grad_(False).eval(), preprocessing


@dataclass(frozen=True, slots=True)
class Subject:
    """A network in float32 on the CPU. `labels`: class labels by index; empty if unknown."""

    name: str
    network: ViT | TNT
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()

    @classmethod
    def load(cls, source: str, *, random_weights: bool = False, architecture: str | None = None) -> Self:
        """Load a model as `load_network` does or, with `random_weights`, initialise an architecture by its name.

        Raises:
            ValueError, LookupError: an unknown model, or an ONNX file, whose layers are not accessible.
        """
        if random_weights:
            return cls(f"{source}, random weights", *random_network(source))
        if onnx_file(source) is not None:
            raise ValueError(f"{source} is an ONNX file; figures need the checkpoint that it was exported from")
        description = describe(source, architecture=architecture)
        network = load_network(source, architecture)
        return cls(served_name(source), network, description.preprocessing, description.labels)

    def images(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Normalised images: uint8 (B, S, S, 3) -> float32 (B, 3, S, S)."""
        normalized = NormalizedNetwork(self.network, self.preprocessing.mean, self.preprocessing.std)
        return normalized.images(torch.from_numpy(pixels))

    @torch.inference_mode()
    def features(self, pixels: NDArray[np.uint8], layer: int | None = None) -> Tensor:
        """Features of images: uint8 (B, S, S, 3) -> float32 (B, D).

        Args:
            layer: the mean over all tokens after this layer, counted from 1; None is the head's input.

        Raises:
            ValueError: no such layer.
        """
        self.check_layer(layer)
        means: list[Tensor] = []
        with layer_hooks(self.network, tokens=lambda tokens: means.append(tokens.mean(dim=1))):
            features = self.network.features(self.images(pixels))
        return features if layer is None else means[layer - 1]

    def check_layer(self, layer: int | None) -> None:
        """Raises ValueError if the network has no such layer, counted from 1."""
        depth = self.network.config.depth
        if layer is not None and not 1 <= layer <= depth:
            raise ValueError(f"{self.name} has layers 1 to {depth}, not {layer}")


@dataclass(frozen=True, slots=True)
class View:
    """View of one image through one network. `pixels`: preprocessed, uint8 (S, S, 3)."""

    subject: Subject
    title: str
    pixels: NDArray[np.uint8]
    explanation: Explanation

    @classmethod
    def of(cls, subject: Subject, title: str, image: Image.Image) -> Self:
        """Preprocess and explain an RGB image."""
        pixels = subject.preprocessing(image)
        return cls(subject, title, pixels, explain(subject.network, subject.images(pixels[None])[0]))

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.explanation.distance)

    @property
    def heading(self) -> str:
        """Model, image and predicted class as text."""
        heading, prediction = f"{self.subject.name}: {self.title}", self.prediction
        return f"{heading}, read as {prediction['label']} ({prediction['score']:.0%})" if prediction else heading

    @property
    def prediction(self) -> dict[str, Any] | None:
        """Top-1 class and its score; None without labels."""
        if not self.subject.labels:
            return None
        scores = self.explanation.logits.softmax(dim=0)
        best = int(scores.argmax())
        return {"label": self.subject.labels[best], "index": best, "score": round(float(scores[best]), 6)}

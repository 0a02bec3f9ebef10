"""Whose pictures are drawn: a network, what prepares images for it, and one image as it sees it."""

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
    """As training starts it: evaluation mode, float32, on the CPU; and how timm would prepare images for it.

    Raises:
        ValueError: no such architecture.
    """
    config = find_variant(architecture)
    if config is None:
        raise ValueError(f"{architecture!r} is no architecture; `tessella models` lists them")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build(config)
    preprocessing = preprocessor_configs.default_preprocessing(architecture, config.image_size)
    return network.requires_grad_(False).eval(), preprocessing


@dataclass(frozen=True, slots=True)
class Subject:
    """A network in float32 on the CPU. `labels`: one per class, or none."""

    name: str
    network: ViT | TNT
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()

    @classmethod
    def load(cls, source: str, *, random_weights: bool = False, architecture: str | None = None) -> Self:
        """A model as `load_network` takes it, or with `random_weights` the name of an architecture.

        Raises:
            ValueError, LookupError: there is none, or it is an ONNX file, whose insides are not told apart.
        """
        if random_weights:
            return cls(f"{source}, random weights", *random_network(source))
        if onnx_file(source) is not None:
            raise ValueError(f"{source} is an ONNX file; pictures need the checkpoint that it was exported from")
        description = describe(source, architecture=architecture)
        network = load_network(source, architecture)
        return cls(served_name(source), network, description.preprocessing, description.labels)

    def images(self, pixels: NDArray[np.uint8]) -> Tensor:
        """uint8 (B, S, S, 3) -> normalised float32 (B, 3, S, S)."""
        normalized = NormalizedNetwork(self.network, self.preprocessing.mean, self.preprocessing.std)
        return normalized.images(torch.from_numpy(pixels))

    @torch.inference_mode()
    def features(self, pixels: NDArray[np.uint8], layer: int | None = None) -> Tensor:
        """uint8 (B, S, S, 3) -> (B, D): what the head reads, or after a layer, from 1, the mean over all tokens.

        Raises:
            ValueError: no such layer.
        """
        self.check_layer(layer)
        seen: list[Tensor] = []
        with layer_hooks(self.network, tokens=lambda tokens: seen.append(tokens.mean(dim=1))):
            features = self.network.features(self.images(pixels))
        return features if layer is None else seen[layer - 1]

    def check_layer(self, layer: int | None) -> None:
        """Raises ValueError where the network has no such layer, counted from 1."""
        depth = self.network.config.depth
        if layer is not None and not 1 <= layer <= depth:
            raise ValueError(f"{self.name} has layers 1 to {depth}, not {layer}")


@dataclass(frozen=True, slots=True)
class View:
    """One image through one network. `pixels`: uint8 (S, S, 3), as the network sees it."""

    subject: Subject
    title: str
    pixels: NDArray[np.uint8]
    explanation: Explanation

    @classmethod
    def of(cls, subject: Subject, title: str, image: Image.Image) -> Self:
        pixels = subject.preprocessing(image)
        return cls(subject, title, pixels, explain(subject.network, subject.images(pixels[None])[0]))

    @property
    def depth(self) -> int:
        return len(self.explanation.distance)

    @property
    def heading(self) -> str:
        found = self.prediction
        return f"{self.subject.name}: {self.title}" + (
            f", read as {found['label']} ({found['score']:.0%})" if found else ""
        )

    @property
    def prediction(self) -> dict[str, Any] | None:
        """The likeliest class and its score, where classes have names."""
        if not self.subject.labels:
            return None
        scores = self.explanation.logits.softmax(dim=0)
        best = int(scores.argmax())
        return {"label": self.subject.labels[best], "index": best, "score": round(float(scores[best]), 6)}

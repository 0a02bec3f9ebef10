"""Logits -> the most likely classes with their probabilities."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .tasks import Task

MIN_SIDE = 224
"""Pixels: smaller images are enlarged by a whole factor before they are drawn over."""
OPACITY = 0.65
_VIRIDIS = "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725"
_COLOURS = np.array([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in _VIRIDIS.split()], np.float32)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one image. `values`: float32 (layers, h, w). `overlay`: a PNG file, the last layer over the grey image."""

    task: Task
    values: NDArray[np.float32]
    overlay: bytes

    @classmethod
    def of(cls, task: Task, pixels: NDArray[np.uint8], values: NDArray[np.float32]) -> "Explanation":
        """`pixels`: uint8 (S, S, 3), as the network saw them."""
        return cls(task, values, overlay(pixels, values[-1]))


def overlay(pixels: NDArray[np.uint8], shares: NDArray[np.float32]) -> bytes:
    """A PNG file of a map (h, w) over the image (S, S, 3), from its least (dark) to its greatest value (bright)."""
    side = len(pixels) * -(-MIN_SIDE // len(pixels)) if len(pixels) < MIN_SIDE else len(pixels)
    grey = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.NEAREST).convert("RGB")
    colours = Image.fromarray(colour(shares)).resize((side, side), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    Image.blend(grey, colours, OPACITY).save(buffer, "PNG")
    return buffer.getvalue()


def colour(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w) -> uint8 (h, w, 3): colours of growing lightness, which colour-blind people tell apart too."""
    low, high = float(shares.min()), float(shares.max())
    place = (shares - low) / (high - low) * (len(_COLOURS) - 1) if high > low else np.zeros_like(shares)
    below = np.minimum(place.astype(np.intp), len(_COLOURS) - 2)
    mixed = _COLOURS[below] + (place - below)[..., None] * (_COLOURS[below + 1] - _COLOURS[below])
    return mixed.round().astype(np.uint8)


ScoreFunction = Literal["softmax", "sigmoid", "none"]
"""What makes scores of logits."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and its score: the softmax probability, unless another function was asked for."""

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """What one image's way through the model took. Times in seconds."""

    batch_size: int
    decode_seconds: float
    input_seconds: float = 0.0
    """Resizing and cropping."""
    queue_seconds: float
    inference_seconds: float
    output_seconds: float = 0.0
    explanation: Explanation | None = None

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage, in their order."""
        return {
            "decode": self.decode_seconds,
            "input": self.input_seconds,
            "queue": self.queue_seconds,
            "inference": self.inference_seconds,
            "output": self.output_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(ImageResult):
    """An image's classes; `predictions` most likely first."""

    predictions: tuple[Prediction, ...]

    @classmethod
    def of(cls, output: "Output", labels: Sequence[str], top_k: int, function: ScoreFunction) -> Self:
        """From logits."""
        started = time.perf_counter()
        predictions = top_predictions(output.values, labels, top_k, function)
        return cls(
            predictions=predictions,
            batch_size=output.batch_size,
            decode_seconds=output.decode_seconds,
            input_seconds=output.input_seconds,
            queue_seconds=output.queue_seconds,
            inference_seconds=output.inference_seconds,
            output_seconds=time.perf_counter() - started,
            explanation=output.explanation,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(ImageResult):
    """What the model gave for an image, as it is: of the shape that `RunnerInfo.results` has for the task."""

    values: NDArray[np.float32]


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """(…, classes) logits -> their softmax over the last axis."""
    scores = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    scores /= scores.sum(-1, keepdims=True)
    return scores


def top_predictions(
    logits: NDArray[np.float32], labels: Sequence[str], top_k: int, function: ScoreFunction = "softmax"
) -> tuple[Prediction, ...]:
    """(classes,) logits -> the `top_k` most likely classes (all, where there are fewer), most likely first."""
    scores = _scores(logits, function)
    best = np.argsort(-scores, kind="stable")[:top_k]
    return tuple(Prediction(labels[index], int(index), float(scores[index])) for index in best)


def _scores(logits: NDArray[np.float32], function: ScoreFunction) -> NDArray[np.float64]:
    if function == "none":
        return logits.astype(np.float64)
    if function == "sigmoid":
        return (1 + np.tanh(logits.astype(np.float64) / 2)) / 2
    return probabilities(logits)

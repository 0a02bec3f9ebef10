"""Results of one image: classification, raw output and explanation, with the duration of each stage."""

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
"""Minimum side of an overlay in pixels: smaller images are enlarged by an integer factor."""
OPACITY = 0.65
_VIRIDIS = "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725"
_COLOURS = np.array([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in _VIRIDIS.split()], np.float32)

ScoreFunction = Literal["softmax", "sigmoid", "none"]
"""Function that turns logits into scores."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Attention maps of one image, float32 (layers, h, w), and a PNG of the last layer over the grey image."""

    task: Task
    values: NDArray[np.float32]
    overlay: bytes

    @classmethod
    def render(cls, task: Task, pixels: NDArray[np.uint8], values: NDArray[np.float32]) -> Self:
        """Explanation of the maps `values`; `pixels`: preprocessed image, uint8 (S, S, 3)."""
        return cls(task, values, overlay(pixels, values[-1]))


@dataclass(frozen=True, slots=True)
class Prediction:
    """Class and its score: its softmax probability by default."""

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """Result of one image: batch size and durations of the stages, in seconds."""

    batch_size: int
    decode_seconds: float
    input_seconds: float = 0.0
    """Resizing and cropping on the host."""
    queue_seconds: float
    inference_seconds: float
    output_seconds: float = 0.0
    explanation: Explanation | None = None

    @property
    def stages(self) -> dict[str, float]:
        """Duration of each stage in seconds, in order."""
        return {
            "decode": self.decode_seconds,
            "input": self.input_seconds,
            "queue": self.queue_seconds,
            "inference": self.inference_seconds,
            "output": self.output_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(ImageResult):
    """Classes of an image, most likely first."""

    predictions: tuple[Prediction, ...]

    @classmethod
    def from_output(cls, output: "Output", labels: Sequence[str], top_k: int, function: ScoreFunction) -> Self:
        """Classification from an output of the task LOGITS."""
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
    """Raw output of the model for an image; its shape is the one in `RunnerInfo.results`."""

    values: NDArray[np.float32]


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax of logits (…, classes) over the last axis."""
    scores = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    scores /= scores.sum(-1, keepdims=True)
    return scores


def top_predictions(
    logits: NDArray[np.float32], labels: Sequence[str], top_k: int, function: ScoreFunction = "softmax"
) -> tuple[Prediction, ...]:
    """Predictions from logits (classes,): the `top_k` most likely classes or all of them, most likely first."""
    scores = _scores(logits, function)
    best = np.argsort(-scores, kind="stable")[:top_k]
    return tuple(Prediction(labels[index], int(index), float(scores[index])) for index in best)


def _scores(logits: NDArray[np.float32], function: ScoreFunction) -> NDArray[np.float64]:
    if function == "none":
        return logits.astype(np.float64)
    if function == "sigmoid":
        return (1 + np.tanh(logits.astype(np.float64) / 2)) / 2
    return probabilities(logits)


def overlay(pixels: NDArray[np.uint8], weights: NDArray[np.float32]) -> bytes:
    """PNG of a map (h, w) over an image, uint8 (S, S, 3), with colours from its minimum (dark) to its maximum."""
    side = len(pixels) * -(-MIN_SIDE // len(pixels)) if len(pixels) < MIN_SIDE else len(pixels)
    grey = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.NEAREST).convert("RGB")
    colours = Image.fromarray(apply_colormap(weights)).resize((side, side), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    Image.blend(grey, colours, OPACITY).save(buffer, "PNG")
    return buffer.getvalue()


def apply_colormap(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours of a map (h, w) in viridis: uint8 (h, w, 3), scaled from the map's minimum to its maximum."""
    low, high = float(values.min()), float(values.max())
    position = (values - low) / (high - low) * (len(_COLOURS) - 1) if high > low else np.zeros_like(values)
    lower = np.minimum(position.astype(np.intp), len(_COLOURS) - 2)
    mixed = _COLOURS[lower] + (position - lower)[..., None] * (_COLOURS[lower + 1] - _COLOURS[lower])
    return mixed.round().astype(np.uint8)

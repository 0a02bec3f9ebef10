"""Logits -> the most likely classes with their probabilities."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from .explanations import Explanation

Function = Literal["softmax", "sigmoid", "none"]
"""What makes scores of logits."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and its score: the softmax probability, unless another function was asked for."""

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
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
class Classification(Answer):
    """An image's classes; `predictions` most likely first."""

    predictions: tuple[Prediction, ...]

    @classmethod
    def of(cls, output: "Output", labels: Sequence[str], top_k: int, function: Function) -> Self:
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
class Output(Answer):
    """What the model gave for an image, as it is: of the shape that `RunnerInfo.results` has for the task."""

    values: NDArray[np.float32]


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """(…, classes) logits -> their softmax over the last axis."""
    scores = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    scores /= scores.sum(-1, keepdims=True)
    return scores


def top_predictions(
    logits: NDArray[np.float32], labels: Sequence[str], top_k: int, function: Function = "softmax"
) -> tuple[Prediction, ...]:
    """(classes,) logits -> the `top_k` most likely classes (all, where there are fewer), most likely first."""
    scores = _scores(logits, function)
    best = np.argsort(-scores, kind="stable")[:top_k]
    return tuple(Prediction(labels[index], int(index), float(scores[index])) for index in best)


def _scores(logits: NDArray[np.float32], function: Function) -> NDArray[np.float64]:
    if function == "none":
        return logits.astype(np.float64)
    if function == "sigmoid":
        return (1 + np.tanh(logits.astype(np.float64) / 2)) / 2
    return probabilities(logits)

"""Inference: outputs as requested, errors of images, and an engine that is replaced while a request is parsed."""

import asyncio
import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.results import Output
from tessella.server.errors import BadRequest, ImageError
from tessella.server.routes.open_inference.infer import InferResult, OutputTensor, classifications, infer
from tessella.server.routes.open_inference.requests import InferRequest, InputTensor, RequestedOutput
from tessella.server.settings import Settings

LOGITS = np.array([0, 2, 1], np.float32)
LABELS = ("cat", "dog", "owl")


class Engine:
    """Engine that returns `LOGITS` for each image and records its calls."""

    name, version = "a", 3

    def __init__(self, size: int = 2, error: ImageError | None = None) -> None:
        self.info = SimpleNamespace(preprocessing=Preprocessing(size=size, resize=size), labels=LABELS)
        self.error = error
        self.calls: list[dict[str, Any]] = []

    async def run_all(self, images: Sequence[Any], task: object, **options: Any) -> list[Output]:
        self.calls.append(options)
        if self.error:
            raise self.error
        one = Output(values=LOGITS, batch_size=1, decode_seconds=0, queue_seconds=0, inference_seconds=0)
        return [one] * len(images)


def request_of(*outputs: RequestedOutput, **options: Any) -> InferRequest:
    return InferRequest((InputTensor("image", "BYTES", (2,), [b"one", b"two"]),), outputs, **options)


def run(request: InferRequest, *engines: Engine) -> InferResult:
    """Result by the first engine, or by the last one if there are several: it replaces the first after one call."""
    served = iter([*engines[:1], *[engines[-1]] * 9])
    return asyncio.run(infer(request, lambda: cast(AsyncEngine, next(served)), Settings(timeout_ms=500)))


def test_all_outputs_by_default() -> None:
    engine = Engine()
    result = run(request_of(binary=True), engine)
    assert (result.model, result.version, result.element_count) == ("a", "3", 12)
    logits, probabilities = result.outputs
    assert np.array_equal(logits.values, [LOGITS] * 2)
    assert np.allclose(np.sum(probabilities.values, axis=-1), 1)
    assert (logits.datatype, logits.shape, logits.binary) == ("FP32", [2, 3], True)
    assert engine.calls == [{"timeout": 0.5, "priority": 0}]


def test_requested_outputs_keep_their_order_and_options() -> None:
    engine = Engine()
    requested = RequestedOutput("probabilities", 1), RequestedOutput("logits", binary=True)
    top, logits = run(request_of(*requested, timeout=2.0, priority=7), engine).outputs
    assert (top.name, top.datatype, top.shape, top.binary) == ("probabilities", "BYTES", [2, 1], False)
    assert (logits.name, logits.binary) == ("logits", True)
    assert engine.calls == [{"timeout": 2.0, "priority": 7}]


def test_an_unknown_output_is_named() -> None:
    with pytest.raises(BadRequest, match="unknown output 'boxes'; available outputs: logits, probabilities"):
        run(request_of(RequestedOutput("boxes")), Engine())


def test_an_invalid_image_is_an_invalid_argument() -> None:
    with pytest.raises(BadRequest, match="image 1: not an image"):
        run(request_of(), Engine(error=ImageError("image 1: not an image")))


def test_a_replaced_engine_is_not_used() -> None:
    old, new = Engine(size=2), Engine(size=4)
    run(request_of(), old, new)
    assert (len(old.calls), len(new.calls)) == (0, 1)


def test_classifications_are_sorted_and_at_most_all() -> None:
    assert classifications(LOGITS[None], LABELS, 2) == [[b"2.000000:1:dog", b"1.000000:2:owl"]]
    assert len(classifications(LOGITS[None], LABELS, 99)[0]) == 3


def test_raw_bytes_are_little_endian_and_prefixed_for_text() -> None:
    assert OutputTensor("logits", LOGITS[None], True).raw_bytes == struct.pack("<3f", 0, 2, 1)
    assert OutputTensor("logits", [[b"cat", b"owl!"]], True).raw_bytes == b"\x03\0\0\0cat\x04\0\0\0owl!"

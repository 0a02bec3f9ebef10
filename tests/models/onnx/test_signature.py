"""Signatures: image input, layout and logits read from a graph's inputs and outputs."""

from pathlib import Path

import numpy as np
import pytest

from tessella.models.errors import CheckpointError
from tessella.models.onnx.signature import TensorSpec, read_signature
from tessella.models.preprocessing.preprocess import Preprocessing

FILE = Path("m.onnx")
LOGITS = TensorSpec("logits", "float32", (None, 5))


@pytest.mark.parametrize(
    ("spec", "layout", "size", "batch"),
    [
        (TensorSpec("x", "uint8", (None, 8, 8, 3)), "NHWC", 8, None),
        (TensorSpec("x", "float32", (1, 3, 9, 9)), "NCHW", 9, 1),
        (TensorSpec("x", "float16", (2, 3, None, None)), "NCHW", None, 2),
        (TensorSpec("pixel_values", "float32", (None, None, None, None)), "NCHW", None, None),
    ],
    ids=["NHWC", "NCHW", "dynamic size", "optimum"],
)
def test_layout_size_and_batch(spec: TensorSpec, layout: str, size: int | None, batch: int | None) -> None:
    signature = read_signature([spec], [LOGITS], FILE)
    assert (signature.layout, signature.size, signature.classes, signature.batch) == (layout, size, 5, batch)
    assert signature.raw == (spec.dtype == "uint8")


def test_feed_normalises_and_transposes_float_inputs() -> None:
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    preprocessing = Preprocessing(size=4, resize=4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    signature = read_signature([TensorSpec("x", "float16", (None, 3, 4, 4))], [LOGITS], FILE)
    images = signature.feed(pixels, preprocessing)
    assert images.dtype == np.float16
    assert images.shape == (2, 3, 4, 4)
    assert float(images[1, 2, 3, 0]) == pytest.approx((pixels[1, 3, 0, 2] / 255 - 0.3) / 0.7, abs=1e-3)
    raw = read_signature([TensorSpec("x", "uint8", (None, 3, 4, 4))], [LOGITS], FILE)
    assert np.array_equal(raw.feed(pixels, preprocessing), pixels.transpose(0, 3, 1, 2))


def test_an_ambiguous_channel_axis_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"m\.onnx: the channel axis of its input x float32 \(\?, 4, 8, 8\)"):
        read_signature([TensorSpec("x", "float32", (None, 4, 8, 8))], [LOGITS], FILE)
    with pytest.raises(CheckpointError, match=r"m\.onnx: the channel axis of its input x float32 \(\?, \?, \?, \?\)"):
        read_signature([TensorSpec("x", "float32", (None, None, None, None))], [LOGITS], FILE)


def test_of_several_outputs_the_one_named_logits_is_used(caplog: pytest.LogCaptureFixture) -> None:
    pixels, heads = (
        TensorSpec("x", "uint8", (None, 8, 8, 3)),
        [TensorSpec(name, "float32", (None, 10)) for name in ("a", "b")],
    )
    assert read_signature([pixels], heads, FILE).output.name == "a"
    assert "a float32 (?, 10), b float32 (?, 10) may be the logits; the first is used" in caplog.text
    caplog.clear()
    assert read_signature([pixels], [*heads, LOGITS], FILE).output == LOGITS
    assert not caplog.text

"""Models from .onnx files: files of other makers in any layout, and broken ones, refused when they are loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tessella.models.errors import CheckpointError
from tessella.models.onnx.model import OnnxModel, error_summary, file_bytes
from tessella.models.onnx.onnxruntime_model import OnnxRuntimeModel
from tessella.models.onnx.openvino_model import OpenVINOModel

from ...support.exports import NORMALISED, SIDECAR, pixels, write_foreign, write_sidecar

LOADERS = [lambda path: OnnxRuntimeModel(path, device="cpu"), OpenVINOModel]
loaders = pytest.mark.parametrize("load", LOADERS, ids=["onnxruntime", "openvino"])
Load = Callable[[Path], OnnxModel]


@loaders
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (("n", 3, 8, 8), TensorProto.FLOAT),
        (("n", 8, 8, 3), TensorProto.FLOAT),
        (("n", 3, 8, 8), TensorProto.FLOAT16),
        ((1, 3, 8, 8), TensorProto.FLOAT),
    ],
    ids=["NCHW", "NHWC", "float16", "batch 1"],
)
def test_normalised_images_in_any_layout(load: Load, shape: tuple[int | str, ...], kind: int, tmp_path: Path) -> None:
    model = load(write_sidecar(write_foreign(tmp_path / "m.onnx", shape, kind=kind)))
    images = pixels(8, 3).numpy()
    mean, std = (np.array(SIDECAR["preprocessing"][key]) for key in ("mean", "std"))  # type: ignore[index]
    level = ((images / 255 - mean) / std).mean(axis=(1, 2, 3))
    tolerance = 1e-2 if kind == TensorProto.FLOAT16 else 1e-5
    assert np.abs(model.logits(images) - (level[:, None] + 1) * np.arange(4)).max() < tolerance
    assert model.metadata.preprocessing.resize == 10
    assert model.metadata.labels == ("a", "b", "c", "d")
    assert model.metadata.family == "onnx"


@loaders
def test_uint8_inputs_get_raw_pixels(load: Load, tmp_path: Path) -> None:
    labels = json.dumps({"labels": SIDECAR["labels"]})
    for shape in [("n", 8, 8, 3), ("n", 3, 8, 8)]:
        file = write_foreign(tmp_path / "m.onnx", shape, kind=TensorProto.UINT8)
        file.with_suffix(".json").write_text(labels)
        images = pixels(8, 2).numpy()
        logits = load(file).logits(images)
        assert logits == pytest.approx((images.mean(axis=(1, 2, 3))[:, None] + 1) * np.arange(4), rel=1e-4)


@loaders
def test_probabilities_become_logits_with_the_same_softmax(load: Load, tmp_path: Path) -> None:
    model = load(write_sidecar(write_foreign(tmp_path / "m.onnx", softmax=True)))
    images = pixels(8, 3).numpy()
    raw = load(write_sidecar(write_foreign(tmp_path / "raw.onnx"))).logits(images)
    assert np.exp(model.logits(images)) == pytest.approx(np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True), rel=1e-4)


def truncated(file: Path) -> Path:
    write_sidecar(write_foreign(file))
    file.write_bytes(file.read_bytes()[:-60])
    return file


def without_classes(file: Path) -> Path:
    """A file whose output is a feature map."""
    write_sidecar(write_foreign(file))
    model = onnx.load(file)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("wide", TensorProto.FLOAT, ("n", 3, 8, 8)))
    onnx.save(model, file)
    return file


def two_inputs(file: Path) -> Path:
    write_sidecar(write_foreign(file))
    model = onnx.load(file)
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ("n", 4)))
    onnx.save(model, file)
    return file


def with_facts(facts: object) -> Callable[[Path], Path]:
    """A file with metadata that no export of ours writes."""

    def write(file: Path) -> Path:
        model = onnx.load(write_sidecar(write_foreign(file)))
        helper.set_model_props(model, {"tessella": json.dumps(facts)})
        onnx.save(model, file)
        return file

    return write


def write_text(file: Path) -> Path:
    file.write_text("hello")
    return file


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "truncated": (truncated, r"cannot load .*m\.onnx"),
    "a text": (lambda file: write_sidecar(write_text(file)), r"cannot load .*m\.onnx"),
    "rank": (lambda file: write_sidecar(write_foreign(file, ("n", 192))), r"2 dimensions.*\(B, H, W, 3\)"),
    "dtype": (
        lambda file: write_sidecar(write_foreign(file, kind=TensorProto.INT32)),
        r"int32.*unsupported dtype.*uint8 or float",
    ),
    "no channel axis": (
        lambda file: write_sidecar(write_foreign(file, ("n", 1, 8, 8))),
        "channel axis .* is ambiguous",
    ),
    "not square": (lambda file: write_sidecar(write_foreign(file, ("n", 3, 8, 16))), "is not square"),
    "two inputs": (two_inputs, "2 inputs"),
    "not a classifier": (without_classes, "is not a classifier"),
    "no labels": (
        lambda file: write_sidecar(write_foreign(file), labels=None),
        r"has no class labels: write m\.json beside it",
    ),
    "no normalisation": (
        lambda file: write_sidecar(write_foreign(file), preprocessing=None),
        "how images are normalised",
    ),
    "labels of another model": (
        lambda file: write_sidecar(write_foreign(file), labels=["a"]),
        r"4 classes \(scores float32 \(\?, 4\)\), but 1 labels",
    ),
    "size of another model": (
        lambda file: write_sidecar(write_foreign(file), preprocessing=NORMALISED | {"size": 9}),
        "takes images of 8 pixels, but its preprocessing gives 9",
    ),
    "misspelt preprocessing": (
        lambda file: write_sidecar(write_foreign(file), preprocessing={"means": 1}),
        "preprocessing cannot be read",
    ),
    "a batch of two": (lambda file: write_sidecar(write_foreign(file, (2, 3, 8, 8))), "fixed batch of 2 images"),
    "a deviation of zero": (
        lambda file: write_sidecar(write_foreign(file), preprocessing={"std": [0, 1, 1], "mean": [0, 0, 0]}),
        "std must be positive",
    ),
    "a list of facts": (with_facts([1]), "'tessella' metadata is not in the format of this version"),
    "a family that is a number": (with_facts({"family": 3}), "not in the format of this version"),
    "facts of another version": (with_facts({"colour": "red"}), "not in the format of this version"),
    "scores that are not finite": (
        lambda file: write_sidecar(write_foreign(file, factor=float("inf"))),
        "not finite",
    ),
}


@loaders
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_when_it_is_loaded(load: Load, kind: str, tmp_path: Path) -> None:
    write, message = BROKEN[kind]
    with pytest.raises(CheckpointError, match=message):
        load(write(tmp_path / "m.onnx"))


def test_pixels_of_another_size_are_refused(tmp_path: Path) -> None:
    model = OnnxRuntimeModel(write_sidecar(write_foreign(tmp_path / "m.onnx")))
    with pytest.raises(ValueError, match=r"uint8 pixels \(B, 8, 8, 3\), got uint8 of 1 × 9 × 9 × 3"):
        model.logits(pixels(9, 1).numpy())


def test_file_bytes_include_external_data(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"12345")
    assert file_bytes(file) == 5
    (tmp_path / "m.onnx.data").write_bytes(b"678")
    assert file_bytes(file) == 8


@pytest.mark.parametrize(
    ("message", "summary"),
    [
        ("first\nsecond", "first"),
        ("Exception from a.cpp:1:\nthe reason", "the reason"),
        (
            "Load failed: /a/onnxruntime_src/core/x.cc:12 void f(int) Opset 99 is unknown",
            "Load failed:  Opset 99 is unknown",
        ),
        ("x" * 500, "x" * 400 + " …"),
        ("", "RuntimeError('')"),
    ],
    ids=["first line", "OpenVINO", "source location", "long", "empty"],
)
def test_error_summary_is_one_line_without_source_locations(message: str, summary: str) -> None:
    assert error_summary(RuntimeError(message)) == summary

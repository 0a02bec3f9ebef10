"""Files of other makers, and broken ones: what is not said is read beside them or refused, always when loading."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper

from tessella.models.checkpoints.labels import imagenet_1k
from tessella.models.errors import CheckpointError
from tessella.models.onnx.model import OnnxModel
from tessella.models.onnx.onnxruntime_model import OnnxSession, choose_provider, providers
from tessella.models.onnx.openvino_model import OpenVINOModel
from tessella.models.onnx.signature import Port, read_signature

from ...support.exports import pixels, write_foreign

NORMALISED = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
SIDECAR = {"labels": ["a", "b", "c", "d"], "preprocessing": {"resize": 10, **NORMALISED}}
LOADERS = [lambda path: OnnxSession(path, device="cpu"), OpenVINOModel]
loaders = pytest.mark.parametrize("load", LOADERS, ids=["onnxruntime", "openvino"])
Load = Callable[[Path], OnnxModel]


def write_sidecar(file: Path, **changes: Any) -> Path:
    file.with_suffix(".json").write_text(json.dumps(SIDECAR | changes))
    return file


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
    assert model.card.preprocessing.resize == 10
    assert model.card.labels == ("a", "b", "c", "d")
    assert model.card.family == "onnx"


@loaders
def test_bytes_are_passed_on_as_they_are(load: Load, tmp_path: Path) -> None:
    labels = json.dumps({"labels": SIDECAR["labels"]})
    for shape in [("n", 8, 8, 3), ("n", 3, 8, 8)]:
        file = write_foreign(tmp_path / "m.onnx", shape, kind=TensorProto.UINT8)
        file.with_suffix(".json").write_text(labels)
        images = pixels(8, 2).numpy()
        found = load(file).logits(images)
        assert found == pytest.approx((images.mean(axis=(1, 2, 3))[:, None] + 1) * np.arange(4), rel=1e-4)


@loaders
def test_probabilities_become_logits_with_the_same_softmax(load: Load, tmp_path: Path) -> None:
    model = load(write_sidecar(write_foreign(tmp_path / "m.onnx", softmax=True)))
    images = pixels(8, 3).numpy()
    raw = load(write_sidecar(write_foreign(tmp_path / "raw.onnx"))).logits(images)
    assert np.exp(model.logits(images)) == pytest.approx(np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True), rel=1e-4)


def test_a_thousand_unnamed_classes_are_imagenets(tmp_path: Path) -> None:
    file = write_foreign(tmp_path / "m.onnx", classes=1000)
    file.with_suffix(".json").write_text(json.dumps({"preprocessing": SIDECAR["preprocessing"]}))
    assert OnnxSession(file).card.labels == imagenet_1k()


def test_documents_of_hugging_face_beside_the_file_or_above_it(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "w", "1": "x", "2": "y", "3": "z"}}))
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 8, "width": 8},
        "image_mean": [0.1] * 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    card = OnnxSession(write_foreign(tmp_path / "onnx" / "model.onnx")).card
    assert card.labels == ("w", "x", "y", "z")
    assert card.preprocessing.mean == (0.1, 0.1, 0.1)


@pytest.mark.skipif("FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), reason="has float16")
def test_openvino_says_what_it_does_not_compute(tmp_path: Path) -> None:
    """It would take another dtype in silence."""
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    with pytest.raises(ValueError, match="no float16 on this CPU"):
        OpenVINOModel(file, dtype="float16")
    model = onnx.load(file)
    helper.set_model_props(model, {"tessella": json.dumps({"dtype": "int8"})})
    onnx.save(model, file)
    assert OpenVINOModel(file).dtype == "int8"
    with pytest.raises(ValueError, match="computes in int8, not in float32"):
        OpenVINOModel(file, dtype="float32")


def truncated(file: Path) -> Path:
    write_sidecar(write_foreign(file))
    file.write_bytes(file.read_bytes()[:-60])
    return file


def without_classes(file: Path) -> Path:
    """Its output is a map of features."""
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
    """With what none of our exports says."""

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
        r"int32.*another type.*uint8 or float",
    ),
    "no colours": (lambda file: write_sidecar(write_foreign(file, ("n", 1, 8, 8))), "3 colours"),
    "no square": (lambda file: write_sidecar(write_foreign(file, ("n", 3, 8, 16))), "no square"),
    "two inputs": (two_inputs, "2 inputs"),
    "no classifier": (without_classes, "no classifier"),
    "no labels": (
        lambda file: write_sidecar(write_foreign(file), labels=None),
        r"names no classes: write m\.json beside it",
    ),
    "no normalisation": (
        lambda file: write_sidecar(write_foreign(file), preprocessing=None),
        "how images are normalised",
    ),
    "labels of another model": (
        lambda file: write_sidecar(write_foreign(file), labels=["a"]),
        r"4 classes \(scores float32 \(\?, 4\)\), 1 are named",
    ),
    "size of another model": (
        lambda file: write_sidecar(write_foreign(file), preprocessing=NORMALISED | {"size": 9}),
        "takes 8 pixels, its preprocessing makes 9",
    ),
    "misspelt preprocessing": (
        lambda file: write_sidecar(write_foreign(file), preprocessing={"means": 1}),
        "preprocessing cannot be read",
    ),
    "a batch of two": (lambda file: write_sidecar(write_foreign(file, (2, 3, 8, 8))), "exactly 2 images"),
    "a deviation of zero": (
        lambda file: write_sidecar(write_foreign(file), preprocessing={"std": [0, 1, 1], "mean": [0, 0, 0]}),
        "std must be positive",
    ),
    "a list of facts": (with_facts([1]), "'tessella' metadata is not what this version writes"),
    "a family that is a number": (with_facts({"family": 3}), "not what this version writes"),
    "facts of another version": (with_facts({"colour": "red"}), "not what this version writes"),
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


def test_an_opset_that_the_runtime_does_not_know_is_named(tmp_path: Path) -> None:
    file = write_sidecar(write_foreign(tmp_path / "m.onnx", opset=99))
    with pytest.raises(CheckpointError, match=r"cannot load .*m\.onnx: .*Opset 99"):
        OnnxSession(file)


def test_pixels_of_another_size_are_refused(tmp_path: Path) -> None:
    model = OnnxSession(write_sidecar(write_foreign(tmp_path / "m.onnx")))
    with pytest.raises(ValueError, match=r"uint8 pixels \(B, 8, 8, 3\), got uint8 of 1 × 9 × 9 × 3"):
        model.logits(pixels(9, 1).numpy())


def test_the_provider_is_the_one_asked_for_or_an_error(tmp_path: Path) -> None:
    cpu, cuda, tensorrt = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
    assert choose_provider("auto", False, [cuda, cpu]) == (cuda, 0)
    assert choose_provider("auto", False, [cpu]) == (cpu, 0)
    assert choose_provider("cpu", False, [cuda, cpu]) == (cpu, 0)
    assert choose_provider("cuda:2", True, [tensorrt, cuda, cpu]) == (tensorrt, 2)
    for device, with_tensorrt, available, message in [
        ("cuda", False, [cpu], f"no {cuda}"),
        ("auto", True, [cuda, cpu], f"no {tensorrt}"),
        ("cpu", True, [tensorrt, cpu], "TensorRT needs a GPU"),
        ("tpu", False, [cpu], "'tpu'"),
        ("cuda:x", False, [cuda], "'cuda:x'"),
        ("cpu:1", False, [cpu], "'cpu:1'"),
    ]:
        with pytest.raises(ValueError, match=message):
            choose_provider(device, with_tensorrt, available)
    with pytest.raises(ValueError, match=f"no {cuda}"):
        OnnxSession(write_sidecar(write_foreign(tmp_path / "m.onnx")), device="cuda:0")


def test_a_file_with_two_heads_says_which_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    pixels, heads = Port("x", "uint8", (None, 8, 8, 3)), [Port(name, "float32", (None, 10)) for name in ("a", "b")]
    assert read_signature([pixels], heads, "m.onnx").output.name == "a"
    assert "a float32 (?, 10), b float32 (?, 10) may be the logits; the first is taken" in caplog.text
    caplog.clear()
    logits = Port("logits", "float32", (None, 5))
    assert read_signature([pixels], [*heads, logits], "m.onnx").output == logits
    assert not caplog.text


def test_tensorrt_gets_profiles_for_every_batch_and_keeps_its_engines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    signature = read_signature(
        [Port("pixels", "uint8", (None, 224, 224, 3))], [Port("logits", "float32", (None, 10))], "m.onnx"
    )
    (name, settings), (second, _) = providers("TensorrtExecutionProvider", 1, Path("m.onnx"), signature, 16)
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert settings["trt_profile_min_shapes"] == "pixels:1x224x224x3"
    assert settings["trt_profile_max_shapes"] == "pixels:16x224x224x3"
    assert settings["trt_engine_cache_path"].startswith(str(tmp_path))
    assert settings["device_id"] == "1"


@pytest.mark.parametrize("told", [{}, {"ORT_DISABLE_TELEMETRY": "0"}], ids=["by default", "who wants it"])
def test_onnxruntime_tells_its_makers_nothing(told: dict[str, str], tmp_path: Path) -> None:
    """It keeps what it would send, and an identity, in the user's cache; here it does not begin to."""
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    lines = (
        "import os",
        "from pathlib import Path",
        "from tessella.models.onnx.onnxruntime_model import OnnxSession",
        f"OnnxSession(Path({str(file)!r}), device='cpu')",
        "print(os.environ['ORT_DISABLE_TELEMETRY'])",
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    variables = {**clean, **told, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    said = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=variables, capture_output=True, text=True, timeout=100, check=True
    )
    assert said.stdout.split() == [told.get("ORT_DISABLE_TELEMETRY", "1")]
    assert told or not (tmp_path / "cache").exists()

"""Preprocessing in an exported graph: Pillow's pixels from images of any size, and unchanged logits in our runners."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from PIL import Image

from tessella.models import backend_choice, backend_rule
from tessella.models.errors import CheckpointError
from tessella.models.onnx import preprocess_graph
from tessella.models.onnx.export import ExportOptions, export
from tessella.models.onnx.onnxruntime_model import OnnxRuntimeModel
from tessella.models.onnx.openvino_model import OpenVINOModel
from tessella.models.onnx.preprocess_graph import prepend_preprocessing
from tessella.models.onnx.verify import ExportError
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.registry import load_model

from ...support.exports import VIT, pixels, write_checkpoint

CONFIGS = {
    "even": Preprocessing(size=32, resize=37),
    "floor": Preprocessing(size=32, resize=35, crop="floor"),
    "bilinear": Preprocessing(size=32, resize=40, interpolation="bilinear"),
    "squash": Preprocessing(size=32, resize=33, mode="squash"),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    made = export(
        str(write_checkpoint(folder / "vit.safetensors", VIT)), folder / "m.onnx", ExportOptions(preprocess=True)
    )
    assert made.preprocessing_parity is not None
    assert (made.preprocessing_parity.count, made.preprocessing_parity.agreement) == (18, 1.0)
    assert made.preprocessing_parity.pixels <= 4
    assert "Pillow" in str(made.preprocessing_parity)
    return made.files[0]


def resizer(preprocessing: Preprocessing) -> onnxruntime.InferenceSession:
    """Session of the preprocessing followed by an identity."""
    pixels = ir.val("pixels", ir.DataType.UINT8, ["batch", preprocessing.size, preprocessing.size, 3])
    same = ir.node("Identity", [pixels])
    same.outputs[0].name, same.outputs[0].type, same.outputs[0].shape = "y", pixels.type, pixels.shape
    model = ir.Model(ir.Graph([pixels], same.outputs, nodes=[same], opset_imports={"": 20}), ir_version=10)
    prepend_preprocessing(model, preprocessing)
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("preprocessing", CONFIGS.values(), ids=CONFIGS)
def test_pixels_are_those_of_pillow(preprocessing: Preprocessing) -> None:
    session = resizer(preprocessing)
    generator = np.random.default_rng(0)
    for width, height in (
        (97, 61),
        (61, 97),
        (33, 32),
        (20, 90),
        (640, 333),
        (preprocessing.resize, preprocessing.resize),
    ):
        images = generator.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        (actual,) = session.run(None, {"images": images})
        expected = np.stack([preprocessing(Image.fromarray(image)) for image in images])
        difference = np.abs(actual.astype(int) - expected)
        assert actual.dtype == np.uint8
        assert difference.max() <= (12 if preprocessing.mode == "squash" else 2)  # Pillow swaps the order of the passes
        assert difference.mean() < 0.4


@pytest.mark.parametrize("preprocessing", CONFIGS.values(), ids=CONFIGS)
def test_uncropped_pixels_pass_unchanged(preprocessing: Preprocessing) -> None:
    images = pixels(32, 3).numpy()
    assert np.array_equal(resizer(preprocessing).run(None, {"images": preprocessing.uncrop(images)})[0], images)


def test_our_onnxruntime_model_takes_preprocessed_pixels(file: Path) -> None:
    """Preprocessing in the graph wins over a preprocessor config beside the file."""
    file.with_suffix(".json").write_text('{"preprocessing": {"resize": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}}')
    model = OnnxRuntimeModel(file, device="cpu")
    assert [side.dim_param for side in onnx.load(file).graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "height",
        "width",
        "",
    ]
    plain = load_model(str(file.parent / "vit.safetensors"), dtype="float32")
    assert model.metadata.preprocessing == plain.preprocessing
    images = pixels(32, 5)
    assert np.abs(model.logits(images.numpy()) - plain.logits(images).numpy()).max() <= 1e-5
    file.with_suffix(".json").unlink()


def test_openvino_starts_after_the_preprocessing(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's resize has no antialiasing and is cut off, so it is a candidate for such files too."""
    plain = load_model(str(file.parent / "vit.safetensors"), dtype="float32")
    images = pixels(32, 5)
    model = OpenVINOModel(file, dtype="float32")
    assert str(model.signature.input) == "pixels uint8 (?, 32, 32, 3)"
    assert model.metadata.preprocessing == plain.preprocessing
    assert np.abs(model.logits(images.numpy()) - plain.logits(images).numpy()).max() <= 1e-5
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(backend_rule, "SMALL_BYTES", 0)
    assert backend_choice.order_onnx_backends(file, device="cpu") == ["openvino", "onnxruntime"]


def test_a_file_that_declares_preprocessing_but_has_none_is_refused(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["other" if name == "pixels" else name for name in names]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match="no value 'pixels'"):
        OpenVINOModel(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "broken", [{"coordinate_transformation_mode": "asymmetric"}, {"cubic_coeff_a": -0.75}, {"antialias": 0}], ids=str
)
def test_a_graph_with_another_resize_is_removed(
    broken: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_checkpoint(tmp_path / "vit.safetensors", VIT)
    monkeypatch.setitem(preprocess_graph._MODES, "bicubic", preprocess_graph._MODES["bicubic"] | broken)
    with pytest.raises(
        ExportError, match=r"does not reproduce the preprocessing.* levels|could not be verified.* Resize"
    ):
        export(str(source), tmp_path / "m.onnx", ExportOptions(preprocess=True))
    assert [file.name for file in tmp_path.iterdir()] == ["vit.safetensors"]


def test_unsupported_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"--preprocess.*bfloat16"):
        ExportOptions(preprocess=True, dtype="bfloat16")
    for interpolation in ("lanczos", "nearest"):
        preprocessing = dataclasses.replace(CONFIGS["even"], interpolation=interpolation)
        with pytest.raises(ValueError, match=f"{interpolation}.*bicubic, bilinear"):
            preprocess_graph.check_preprocessing(preprocessing)

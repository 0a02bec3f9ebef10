"""Metadata of files of other makers: read from files beside them, and refused on load if a value is invalid."""

import json
from pathlib import Path
from typing import Any

import pytest

from tessella.models.checkpoints.labels import imagenet_1k
from tessella.models.errors import CheckpointError
from tessella.models.onnx.onnxruntime_model import OnnxRuntimeModel

from ...support.exports import NORMALISED, SIDECAR, write_foreign, write_sidecar


def test_keys_missing_in_our_sidecar_are_read_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path has the same neighbours."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "w", "1": "x", "2": "y", "3": "z"}}))
    file = write_foreign(tmp_path / "onnx" / "m.onnx")
    file.with_suffix(".json").write_text(json.dumps({"preprocessing": SIDECAR["preprocessing"]}))
    monkeypatch.chdir(file.parent)
    metadata = OnnxRuntimeModel(Path("m.onnx")).metadata
    assert metadata.labels == ("w", "x", "y", "z")
    assert metadata.preprocessing.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"resize": 10, "std": [1, 1, 1]}, "does not state mean"),
        ([1], r"a JSON object, not \[1\]"),
        (NORMALISED | {"mode": "stretch"}, "mode 'stretch' is not one of shortest, squash"),
        (NORMALISED | {"interpolation": "cubic"}, "interpolation 'cubic' is not one of .*bicubic"),
        (NORMALISED | {"crop": "up"}, "crop 'up' is not one of even, floor"),
        (NORMALISED | {"resize": 10.5}, r"resize is 10\.5, not a whole number of pixels"),
        (NORMALISED | {"mean": 0.5}, r"mean is 0\.5, not three numbers"),
        (NORMALISED | {"mean": [0.5, 0.5]}, "mean is .*, not three numbers"),
        (NORMALISED | {"std": ["a", 1, 1]}, "std is .*, not three numbers"),
    ],
)
def test_an_invalid_value_is_named(config: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"preprocessing cannot be read: .*{message}"):
        OnnxRuntimeModel(write_sidecar(write_foreign(tmp_path / "m.onnx"), preprocessing=config))


def test_a_missing_size_is_requested(tmp_path: Path) -> None:
    file = write_sidecar(write_foreign(tmp_path / "m.onnx", ("n", 3, "h", "w")))
    with pytest.raises(CheckpointError, match="does not state size"):
        OnnxRuntimeModel(file)
    write_sidecar(file, preprocessing=NORMALISED | {"size": 9})
    assert OnnxRuntimeModel(file).metadata.preprocessing.size == 9


def test_a_thousand_classes_without_labels_are_imagenets(tmp_path: Path) -> None:
    file = write_foreign(tmp_path / "m.onnx", classes=1000)
    file.with_suffix(".json").write_text(json.dumps({"preprocessing": SIDECAR["preprocessing"]}))
    assert OnnxRuntimeModel(file).metadata.labels == imagenet_1k()


@pytest.mark.parametrize("text", ["w,x, y,z", "w\nx\ny\nz\n", '["w", "x", "y", "z"]'], ids=["commas", "lines", "JSON"])
def test_labels_of_other_exporters(text: str, tmp_path: Path) -> None:
    import onnx

    file = write_foreign(tmp_path / "m.onnx")
    file.with_suffix(".json").write_text(json.dumps({"preprocessing": SIDECAR["preprocessing"]}))
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {"labels": text})
    onnx.save(model, file)
    assert OnnxRuntimeModel(file).metadata.labels == ("w", "x", "y", "z")


def test_documents_of_hugging_face_beside_the_file_or_above_it(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "w", "1": "x", "2": "y", "3": "z"}}))
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 8, "width": 8},
        "image_mean": [0.1] * 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    metadata = OnnxRuntimeModel(write_foreign(tmp_path / "onnx" / "model.onnx")).metadata
    assert metadata.labels == ("w", "x", "y", "z")
    assert metadata.preprocessing.mean == (0.1, 0.1, 0.1)

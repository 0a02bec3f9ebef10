"""Export: files compute PyTorch's logits and carry their metadata; after a failed check no file is left."""

import dataclasses
import hashlib
import json
import logging
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest

from tessella.models.config import Config, ViTConfig
from tessella.models.errors import CheckpointError, ModelNotFoundError
from tessella.models.onnx import export as export_module
from tessella.models.onnx.export import ExportOptions, export
from tessella.models.onnx.onnxruntime_model import OnnxRuntimeModel
from tessella.models.onnx.openvino_model import OpenVINOModel
from tessella.models.onnx.verify import ExportError
from tessella.models.registry import load_model, load_network

from ...support.exports import LABELS, TNT, VIT, pixels, write_checkpoint, write_foreign

CONFIGS: dict[str, Config] = {
    "vit": dataclasses.replace(VIT, layer_scale=True, depth=2),
    "mean": dataclasses.replace(VIT, pooling="mean", norm_after_pooling=True, feedforward="swiglu"),
    "distilled": dataclasses.replace(VIT, distillation_token=True),
    "tnt": TNT,
    "legacy": dataclasses.replace(TNT, sub_patch_embedding="image_convolution", normalise_projection=False),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: str(write_checkpoint(folder / f"{name}.safetensors", config)) for name, config in CONFIGS.items()}


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("mean", ExportOptions(), 1e-5),
        ("legacy", ExportOptions(), 1e-5),
        ("vit", ExportOptions(form="plain"), 1e-5),
        ("distilled", ExportOptions(quantise="int8"), 0.2),
        ("tnt", ExportOptions(opset=23, fusions=True), 1e-5),
    ],
    ids=["mean", "legacy", "plain", "int8", "fusions"],
)
def test_the_file_computes_what_pytorch_computes(
    name: str, options: ExportOptions, tolerance: float, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    made = export(checkpoints[name], tmp_path / "m.onnx", options)
    assert made.files == (tmp_path / "m.onnx",)
    assert made.parity is not None
    assert made.parity.largest <= tolerance
    assert made.parity.count == 12
    assert_equal(tmp_path / "m.onnx", checkpoints[name], tolerance)


@pytest.mark.parametrize(
    "options",
    [ExportOptions(quantise="int8"), ExportOptions(dtype="float16", preprocess=True)],
    ids=["int8", "float16"],
)
def test_weights_too_large_for_one_file_are_external_data(
    options: ExportOptions, checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """External data of the final file only; both files can be moved together."""
    monkeypatch.setattr(export_module, "INLINE_LIMIT", 0)
    made = export(checkpoints["tnt"], tmp_path / "m.onnx", options)
    assert made.files == (tmp_path / "m.onnx", tmp_path / "m.onnx.data")
    assert sorted(tmp_path.iterdir()) == sorted(made.files)
    named = {
        entry.value
        for tensor in onnx.load(made.files[0], load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert named == {"m.onnx.data"}
    (moved := tmp_path / "moved").mkdir()
    for file in made.files:
        file.rename(moved / file.name)
    assert_equal(moved / "m.onnx", checkpoints["tnt"], 0.2)
    model = OpenVINOModel(moved / "m.onnx", dtype="auto" if options.quantise else "float32")
    assert np.isfinite(model.logits(pixels(32, 2).numpy())).all()


def assert_equal(file: Path, checkpoint: str, tolerance: float = 1e-5) -> None:
    model = OnnxRuntimeModel(file, device="cpu")
    for batch in (1, 5):
        images = pixels(32, batch, seed=batch)
        expected = load_model(checkpoint, dtype="float32").logits(images).numpy()
        assert np.abs(model.logits(images.numpy()) - expected).max() <= tolerance


def test_the_file_carries_its_metadata(checkpoints: dict[str, str], tmp_path: Path) -> None:
    """Weights beyond the limit are external data."""
    file = tmp_path / "m.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "INLINE_LIMIT", 1000)
        made = export(checkpoints["vit"], file, ExportOptions(opset=23, softmax=True, top_k=2))
    assert [path.name for path in made.files] == ["m.onnx", "m.onnx.data"]
    assert made.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert_equal(file, checkpoints["vit"])
    metadata = OnnxRuntimeModel(file, device="cpu").metadata
    assert metadata.labels == LABELS
    assert metadata.preprocessing == load_model(checkpoints["vit"]).preprocessing
    assert (metadata.family, metadata.dtype, ViTConfig(**metadata.config)) == ("vit", "float32", CONFIGS["vit"])
    assert metadata.parameters == sum(p.numel() for p in load_network(checkpoints["vit"]).parameters())
    assert (metadata.facts["source"], metadata.facts["export"]["opset"]) == ("vit", 23)
    assert metadata.facts["source_sha256"] == hashlib.sha256(Path(checkpoints["vit"]).read_bytes()).hexdigest()
    model = onnx.load(file, load_external_data=False)
    props = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert props["labels"] == list(LABELS)
    assert props["preprocessing"]["mean"] == [0.4, 0.5, 0.6]
    assert [output.name for output in model.graph.output] == ["logits", "probabilities", "scores", "indices"]
    assert [side.dim_param for side in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", "", "", ""]
    assert "Attention" in {node.op_type for node in model.graph.node}
    assert ".py" not in str(model), "the file names a source file of the trace"


def test_norms_stay_float32_in_a_float16_file(checkpoints: dict[str, str], tmp_path: Path) -> None:
    export(checkpoints["tnt"], tmp_path / "m.onnx", ExportOptions(dtype="float16"))
    assert_equal(tmp_path / "m.onnx", checkpoints["tnt"], 2e-2)
    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "m.onnx"))
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    assert norms
    assert {kinds[name] for node in norms for name in (node.input[0], node.output[0])} == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.FLOAT16 in kinds.values()


def test_bfloat16_is_verified_in_openvino(checkpoints: dict[str, str], tmp_path: Path) -> None:
    made = export(checkpoints["distilled"], tmp_path / "m.onnx", ExportOptions(dtype="bfloat16"))
    assert made.parity is not None
    assert made.parity.runtime == "openvino"
    assert 1e-5 < made.parity.largest < 0.1 * made.parity.scale


@pytest.mark.parametrize("broken", ["another network", "no model"])
def test_a_file_that_fails_a_check_is_removed(
    broken: str, checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(path: Path, *_: object) -> None:
        write_foreign(path, ("n", 32, 32, 3), kind=onnx.TensorProto.UINT8, classes=7)
        path.with_suffix(".json").write_text(json.dumps({"labels": LABELS}))

    def write_nothing(path: Path, *_: object) -> None:
        path.write_bytes(b"not a model")

    monkeypatch.setattr(export_module, "write", write_another if broken == "another network" else write_nothing)
    with pytest.raises(ExportError, match=r"largest difference \d" if broken == "another network" else "not a valid"):
        export(checkpoints["vit"], tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_invalid_options_are_named(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for arguments, message in [
        ({"opset": 9}, r"opset 9 .*20, 23"),
        ({"dtype": "int3"}, r"'int3'.*float32"),
        ({"form": "unfolded"}, "folded, plain"),
        ({"quantise": "int4"}, "'int4'.*int8"),
        ({"quantise": "int8", "dtype": "float16"}, "float32, not from float16"),
        ({"fusions": True, "dtype": "bfloat16"}, "leave one of them out"),
        ({"top_k": 0}, "top_k"),
    ]:
        with pytest.raises(ValueError, match=message):
            ExportOptions(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"top_k \(8\).*7 classes"):
        export(checkpoints["vit"], tmp_path / "m.onnx", ExportOptions(top_k=8))
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        export(checkpoints["vit"], tmp_path / "m.pt")
    with pytest.raises(ValueError, match="no folder"):
        export(checkpoints["vit"], tmp_path / "a" / "m.onnx")
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        export("nowhere", tmp_path / "m.onnx")
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ValueError, match="an ONNX file already"):
        export(str(tmp_path / "m.onnx"), tmp_path / "n.onnx")
    (tmp_path / "m.onnx").unlink()
    headless = write_checkpoint(tmp_path / "h.safetensors", dataclasses.replace(VIT, num_classes=0))
    with pytest.raises(CheckpointError, match="no head"):
        export(str(headless), tmp_path / "m.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["h.safetensors"]


@pytest.mark.parametrize("options", [ExportOptions(), ExportOptions(quantise="int8")], ids=["float32", "int8"])
def test_a_file_that_cannot_be_written_is_named(
    options: ExportOptions, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    """And nothing is left of it: no draft, no silence of the log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/m\.onnx'$") as caught:
            export(checkpoints["vit"], tmp_path / "m.onnx", options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "tessella-export" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_failed_quantisation_leaves_the_log_as_it_was(
    checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("onnxruntime.quantization.quantize_dynamic", fail)
    with pytest.raises(RuntimeError, match="no"):
        export(checkpoints["vit"], tmp_path / "m.onnx", ExportOptions(quantise="int8"))
    assert logging.root.manager.disable == logging.NOTSET

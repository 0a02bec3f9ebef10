"""OpenVINO: parallel streams give the logits of whole batches; unsupported dtypes are refused."""

import json
from pathlib import Path

import onnx
import openvino
import pytest
from onnx import TensorProto, helper

from tessella.models.onnx import openvino_model
from tessella.models.onnx.openvino_model import DynamicBatch, OpenVINOModel, ParallelStreams

from ...support.exports import pixels, write_foreign, write_sidecar


def load(file: Path, shape: tuple[int | str, ...] = ("n", 8, 8, 3)) -> OpenVINOModel:
    write_foreign(file, shape, kind=TensorProto.UINT8)
    file.with_suffix(".json").write_text(json.dumps({"labels": list("abcd")}))
    return OpenVINOModel(file, dtype="float32")


@pytest.mark.parametrize("cores", [2, 4])
def test_every_image_gets_its_own_logits(cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(tmp_path / "m.onnx")
    monkeypatch.setattr(openvino_model, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr("tessella.models.cpu.usable_cores", lambda: cores)
    parallel = load(tmp_path / "m.onnx")
    assert (type(whole._batches), type(parallel._batches)) == (DynamicBatch, ParallelStreams)
    for count in (1, 2, 3, 9):
        images = pixels(8, count, seed=count).numpy()
        assert parallel.logits(images) == pytest.approx(whole.logits(images), rel=1e-5)


def test_a_fixed_batch_or_a_single_core_runs_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_model, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr("tessella.models.cpu.usable_cores", lambda: 2)
    assert type(load(tmp_path / "m.onnx", (1, 8, 8, 3))._batches) is DynamicBatch
    monkeypatch.setattr("tessella.models.cpu.usable_cores", lambda: 1)
    assert type(load(tmp_path / "m.onnx")._batches) is DynamicBatch


@pytest.mark.skipif("FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), reason="has float16")
def test_an_unsupported_dtype_is_refused(tmp_path: Path) -> None:
    """OpenVINO would silently use another dtype."""
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    with pytest.raises(ValueError, match="does not support float16 on this CPU"):
        OpenVINOModel(file, dtype="float16")
    model = onnx.load(file)
    helper.set_model_props(model, {"tessella": json.dumps({"dtype": "int8"})})
    onnx.save(model, file)
    assert OpenVINOModel(file).dtype == "int8"
    with pytest.raises(ValueError, match="computes in int8, not in float32"):
        OpenVINOModel(file, dtype="float32")

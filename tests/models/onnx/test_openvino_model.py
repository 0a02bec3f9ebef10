"""Images side by side, one a core: the same logits in the same order, whatever the size of the batch."""

import json
from pathlib import Path

import pytest
from onnx import TensorProto

from tessella.models.onnx import openvino_model
from tessella.models.onnx.openvino_model import FreeBatch, OpenVINOModel, SideBySide

from ...support.exports import pixels, write_foreign


def load(file: Path, shape: tuple[int | str, ...] = ("n", 8, 8, 3)) -> OpenVINOModel:
    write_foreign(file, shape, kind=TensorProto.UINT8)
    file.with_suffix(".json").write_text(json.dumps({"labels": list("abcd")}))
    return OpenVINOModel(file, dtype="float32")


@pytest.mark.parametrize("cores", [2, 4])
def test_every_image_gets_its_own_logits(cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(tmp_path / "m.onnx")
    monkeypatch.setattr(openvino_model, "SMALL_BYTES", 0)
    monkeypatch.setattr("tessella.models.cpu.usable_cores", lambda: cores)
    apart = load(tmp_path / "m.onnx")
    assert (type(whole._batches), type(apart._batches)) == (FreeBatch, SideBySide)
    for count in (1, 2, 3, 9):
        images = pixels(8, count, seed=count).numpy()
        assert apart.logits(images) == pytest.approx(whole.logits(images), rel=1e-5)


def test_a_fixed_batch_or_a_single_core_runs_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_model, "SMALL_BYTES", 0)
    monkeypatch.setattr("tessella.models.cpu.usable_cores", lambda: 2)
    assert type(load(tmp_path / "m.onnx", (1, 8, 8, 3))._batches) is FreeBatch
    monkeypatch.setattr("tessella.models.cpu.usable_cores", lambda: 1)
    assert type(load(tmp_path / "m.onnx")._batches) is FreeBatch

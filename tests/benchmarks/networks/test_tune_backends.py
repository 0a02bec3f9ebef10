"""Backend tuner: an entry for each network and dtype, from runs in every backend that supports it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from tessella.benchmarks.networks import tune_backends
from tessella.benchmarks.networks.backend_timer import RunBatch
from tessella.benchmarks.networks.tune_backends import ARCHITECTURES, tune, tune_cpu, write_random_checkpoint
from tessella.models import cpu
from tessella.models.backend_timings import Entry, MeasuredChoice, load_table, plain, subject_of_file
from tessella.models.errors import CheckpointError
from tessella.models.onnx.model import file_bytes
from tessella.models.registry import describe, load_model
from tessella.models.variants import VARIANTS

from ...support.exports import LABELS, VIT, write_checkpoint, write_foreign, write_sidecar

ENTRY = Entry("v", {"config": {}}, "float32", MeasuredChoice("torch", "the figures", {"torch": (1.0, 2.0)}, 8))


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Backends of each measurement; every run is called once with one image and with a batch, and none is timed."""
    calls: list[list[str]] = []

    def choose_fastest(runs: Mapping[str, RunBatch]) -> MeasuredChoice:
        calls.append(list(runs))
        shapes = {(getattr(run(1), "shape", None), getattr(run(3), "shape", None)) for run in runs.values()}
        assert len(shapes) == 1, "all runs are of the same network"
        return MeasuredChoice("torch", "", {"torch": (1.0, 2.0)}, 8)

    monkeypatch.setattr(tune_backends, "choose_fastest", choose_fastest)
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: True)
    return calls


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(write_checkpoint(tmp_path / "v.safetensors", VIT))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that `export` returns: an export takes long."""
    file = write_foreign(tmp_path / "e.onnx", ("n", 32, 32, 3), kind=TensorProto.UINT8, classes=7)
    file.with_suffix(".json").write_text(json.dumps({"labels": LABELS}))
    result = type("Result", (), {"files": (file,)})
    monkeypatch.setattr(tune_backends, "export", lambda *_, **__: result)
    return file


@pytest.mark.usefixtures("stand_in")
def test_a_checkpoint_is_measured_in_every_dtype_and_backend(source: str, measured: list[list[str]]) -> None:
    steps: list[tuple[str, float]] = []
    entries = tune([source], (), lambda text, part: steps.append((text, part)))
    assert [(entry.network, entry.dtype) for entry in entries] == [("v", "float32"), ("v", "bfloat16")]
    assert entries[0].subject == plain({"config": asdict(VIT)})
    assert measured[0] == ["torch", "onnxruntime", "openvino"]
    assert "onnxruntime" not in measured[1], "it does not multiply bfloat16"
    assert [text for text, _ in steps] == ["v: exporting", "v: measuring float32", "v: measuring bfloat16"]
    assert [part for _, part in steps] == sorted(part for _, part in steps)


def test_without_the_instructions_bfloat16_is_not_measured(
    source: str, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: False)
    assert [entry.dtype for entry in tune([source], ())] == ["float32"]


def test_what_cannot_be_exported_is_measured_in_torch(
    source: str, measured: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise CheckpointError("no graph")

    monkeypatch.setattr(tune_backends, "export", fail)
    steps: list[str] = []
    tune([source], (), lambda text, _: steps.append(text))
    assert measured == [["torch"], ["torch"]]
    assert "v: measuring PyTorch only: no graph" in steps


def test_a_file_is_measured_in_every_runtime(tmp_path: Path, measured: list[list[str]]) -> None:
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    (entry,) = tune([str(file)], ())
    assert (entry.network, entry.dtype) == ("m", "auto")
    assert entry.subject == subject_of_file(file, file_bytes(file))
    assert measured == [["onnxruntime", "openvino"]]
    file.write_bytes(b"no model")
    with pytest.raises(ValueError, match="no installed runtime loads"):
        tune([str(file)], ())


def test_architectures_have_random_weights(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224"
    file = write_random_checkpoint(name, tmp_path)
    assert describe(str(file)).config == VARIANTS[name]
    network = load_model(str(file), dtype="float32").network
    assert all(parameter.std() > 0.01 for parameter in network.parameters() if parameter.ndim == 1)


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'resnet50'"):
        tune((), ["resnet50"])


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Models and architectures of each call of `tune`, which measures nothing."""
    calls: list[tuple[Any, ...]] = []

    def record(models: Any, architectures: Any, progress: Any) -> list[Entry]:
        calls.append((list(models), tuple(architectures)))
        progress("v: measuring", 0.5)
        return [ENTRY]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tune_backends, "tune", record)
    return calls


def test_the_table_is_written_to_the_cache_folder(tmp_path: Path, tuned: list[Any]) -> None:
    lines = tune_cpu([], None, None, lambda *_: None)
    path = tmp_path / "cache" / "tessella" / "backend-timings.json"
    assert lines == ["v float32: the figures", f"{path}: 1 entries"]
    assert tuned == [([], ARCHITECTURES)]
    table = load_table()
    assert table is not None
    assert (table.path, table.entries) == (path, (ENTRY,))


def test_the_table_is_written_to_a_file(tmp_path: Path, tuned: list[Any]) -> None:
    tune_cpu(["digits-vit"], None, tmp_path / "t.json", lambda *_: None)
    assert tuned == [(["digits-vit"], ())]
    table = load_table(tmp_path / "t.json")
    assert table is not None
    assert table.entries == (ENTRY,)
    assert load_table() is None


def test_nothing_is_measured_for_a_file_that_cannot_be_written(tmp_path: Path, tuned: list[Any]) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        tune_cpu([], None, tmp_path / "missing" / "t.json", lambda *_: None)
    assert tuned == []

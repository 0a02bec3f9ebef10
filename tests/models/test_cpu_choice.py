"""The fastest backend of a CPU: measured once, remembered by what decides it, and not measured where it is idle."""

import json
import time
from pathlib import Path

import pytest
from onnx import TensorProto

from tessella.models import cpu_choice, onnx_exports
from tessella.models.cpu_choice import choose_for_checkpoint, choose_for_file, fastest, remembered
from tessella.models.machine import examine

from .exports import VIT, write_checkpoint, write_foreign
from .test_onnx_session import write_sidecar


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tessella" / "choices"


def test_the_fastest_wins_and_says_by_how_much() -> None:
    choice = fastest({"slow": lambda: time.sleep(0.02), "quick": lambda: None})
    assert choice.backend == "quick"
    assert choice.milliseconds is not None
    assert choice.milliseconds["slow"] >= 20
    assert "quick 0.0 ms, slow 2" in choice.reason


def test_a_large_checkpoint_is_measured_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(write_checkpoint(tmp_path / "v.safetensors", VIT))
    assert choose_for_checkpoint(source, device="cpu", dtype="auto").backend == "auto"
    assert not cache.exists(), "a small network is not worth measuring"
    monkeypatch.setattr(cpu_choice, "SMALL_MACS", 0)
    stand_in = write_foreign(tmp_path / "m.onnx", ("n", 32, 32, 3), kind=TensorProto.UINT8)
    stand_in.with_suffix(".json").write_text(json.dumps({"labels": list("abcd")}))
    monkeypatch.setattr(onnx_exports, "exported", lambda _, **said: stand_in)
    measured = choose_for_checkpoint(source, device="cpu", dtype="auto")
    assert measured.milliseconds is not None
    assert set(measured.milliseconds) == {"torch", "onnxruntime", "openvino"}
    assert measured.backend == min(measured.milliseconds, key=lambda name: (measured.milliseconds or {})[name])
    monkeypatch.setattr(cpu_choice, "_checkpoint_calls", lambda *_: pytest.fail("measured again"))
    assert choose_for_checkpoint(source, device="cpu", dtype="auto") == measured
    assert remembered() == [f"v: {measured.reason}"]
    assert ("remembered", f"v: {measured.reason}") in examine()
    with pytest.raises(pytest.fail.Exception):  # another dtype is another question
        choose_for_checkpoint(source, device="cpu", dtype="float32")


def test_a_file_is_measured_only_where_there_is_a_choice(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    assert choose_for_file(file, device="cpu", dtype="auto").backend == "onnxruntime"
    assert not cache.exists()
    monkeypatch.setattr(cpu_choice, "SMALL_BYTES", 0)
    assert set(choose_for_file(file, device="cpu", dtype="auto").milliseconds or ()) == {"onnxruntime", "openvino"}
    monkeypatch.setattr(cpu_choice, "installed", lambda package: package == "openvino")
    assert choose_for_file(file, device="cpu", dtype="auto").backend == "openvino"


def test_a_damaged_memory_is_measured_anew(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_choice, "SMALL_BYTES", 0)
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    choose_for_file(file, device="cpu", dtype="auto")
    (memory,) = cache.iterdir()
    memory.write_text("{")
    assert choose_for_file(file, device="cpu", dtype="auto").milliseconds
    assert json.loads(memory.read_text())["network"] == "m"


def test_a_cache_that_cannot_be_written_stops_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (blocked := tmp_path / "blocked").touch()  # root may write anywhere, but not below a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(cpu_choice, "SMALL_MACS", 0)
    monkeypatch.setattr(cpu_choice, "SMALL_BYTES", 0)
    source = str(write_checkpoint(tmp_path / "v.safetensors", VIT))
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    for choice in (
        choose_for_checkpoint(source, device="cpu", dtype="auto"),
        choose_for_file(file, device="cpu", dtype="auto"),
    ):
        assert (choice.backend, choice.milliseconds) == ("auto", None)
    assert "not measured which backend is fastest" in caplog.text
    assert "cannot be written" in caplog.text

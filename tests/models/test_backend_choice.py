"""Backend choice on a CPU: by a table of timings where one applies, else by the rule."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tessella.models import backend_rule, cpu
from tessella.models.backend_choice import choose_checkpoint_backend, choose_onnx_batch, order_onnx_backends
from tessella.models.backend_rule import RUNTIMES, BackendChoice, Machine
from tessella.models.backend_timings import (
    Entry,
    MeasuredChoice,
    Rates,
    default_path,
    plain,
    save_table,
    subject_of_file,
)
from tessella.models.onnx.model import file_bytes

from ..support.exports import VIT, write_checkpoint, write_foreign, write_sidecar

BOTH: Rates = {"torch": (10.0, 12.0), "onnxruntime": (9.0, 8.0), "openvino": (5.0,)}
FASTEST_TORCH = MeasuredChoice("torch", "the figures", BOTH, 8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Machine with bfloat16 and every runtime, on which small networks count as large."""
    monkeypatch.setattr(backend_rule, "SMALL_MACS", 0)
    monkeypatch.setattr(backend_rule, "SMALL_BYTES", 0)
    machine = Machine(bfloat16=True, cores=2, runtimes=frozenset(RUNTIMES), exports=True)
    monkeypatch.setattr(Machine, "current", lambda: machine)
    return machine


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(write_checkpoint(tmp_path / "v.safetensors", VIT))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_sidecar(write_foreign(tmp_path / "m.onnx"))


def write_table(dtype: str = "float32", choice: MeasuredChoice = FASTEST_TORCH, path: Path | None = None) -> Path:
    path = path or default_path()
    save_table(path, [Entry("v", plain({"config": asdict(VIT)}), dtype, choice)])
    return path


@pytest.mark.usefixtures("machine")
def test_without_a_table_the_rule_decides(source: str) -> None:
    choice = choose_checkpoint_backend(source, device="cpu")
    assert choice == BackendChoice(
        "openvino", "bfloat16", 8, "the rule for CPUs chose openvino, bfloat16 and batches of up to 8"
    )
    assert choose_checkpoint_backend(source, device="cpu", dtype="float32").dtype == "float32"


@pytest.mark.usefixtures("machine")
def test_a_table_in_the_cache_folder_decides(source: str) -> None:
    path = write_table()
    choice = choose_checkpoint_backend(source, device="cpu", dtype="float32")
    reason = f"the table {path} chose torch and batches of up to 8 (the figures)"
    assert choice == BackendChoice("torch", "float32", 8, reason)
    assert choose_checkpoint_backend(source, device="cpu", dtype="bfloat16").backend == "openvino", "not in the table"
    assert choose_checkpoint_backend(source, device="cpu", dtype="float32", image_size=16).backend == "openvino"


@pytest.mark.usefixtures("machine")
def test_a_given_table_decides_in_place_of_the_one_in_the_cache_folder(source: str, tmp_path: Path) -> None:
    write_table()
    fastest = MeasuredChoice("onnxruntime", "", {"onnxruntime": (2.0, 2.0)}, 1)
    given = write_table(choice=fastest, path=tmp_path / "given.json")
    choice = choose_checkpoint_backend(source, device="cpu", dtype="float32", timings=given)
    assert (choice.backend, choice.preferred_batch) == ("onnxruntime", 1)
    assert str(given) in choice.reason
    with pytest.raises(ValueError, match="there is no file"):
        choose_checkpoint_backend(source, device="cpu", timings=tmp_path / "missing.json")


@pytest.mark.usefixtures("machine")
def test_a_table_decides_about_dtype_auto(source: str) -> None:
    write_table("float32", MeasuredChoice("openvino", "", {"openvino": (10.0, 10.0)}, 1))
    write_table("bfloat16", MeasuredChoice("torch", "", {"torch": (11.0, 11.0)}, 1))
    choice = choose_checkpoint_backend(source, device="cpu")
    assert (choice.backend, choice.dtype) == ("openvino", "float32"), "bfloat16 gains too little"
    assert "chose openvino, float32 and single images" in choice.reason


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("backend", "batch", "decider"),
    [("torch", 8, "the table"), ("onnxruntime", 1, "the table"), ("openvino", 8, "the rule for CPUs")],
)
def test_batches_of_a_requested_backend(backend: str, batch: int, decider: str, source: str) -> None:
    """The last one was too slow for its batches to be measured."""
    write_table()
    choice = choose_checkpoint_backend(source, device="cpu", dtype="float32", backend=backend)
    assert (choice.backend, choice.preferred_batch) == (backend, batch)
    assert choice.reason.startswith(decider)


def test_a_table_does_not_decide_for_a_checkpoint_that_cannot_be_exported(source: str, machine: Machine) -> None:
    write_table(choice=MeasuredChoice("openvino", "", {"openvino": (2.0, 2.0)}, 1))
    assert choose_checkpoint_backend(source, device="cpu", dtype="float32").backend == "openvino"
    unable = Machine(bfloat16=True, cores=2, runtimes=machine.runtimes, exports=False)
    assert choose_checkpoint_backend(source, device="cpu", dtype="float32", machine=unable).backend == "torch"


@pytest.mark.parametrize("arguments", [{"device": "cuda:0"}, {"backend": "triton"}, {"backend": "tensorrt"}])
def test_on_a_gpu_the_request_stays(arguments: dict[str, Any], source: str) -> None:
    choice = choose_checkpoint_backend(source, **arguments)
    assert choice == BackendChoice(arguments.get("backend", "auto"), "auto", None, "")


def test_small_networks_stay_in_torch_and_float32(source: str) -> None:
    choice = choose_checkpoint_backend(source, device="cpu")
    assert (choice.backend, choice.dtype, choice.preferred_batch) == ("torch", "float32", None)


def test_small_files_run_in_onnxruntime(file: Path) -> None:
    assert order_onnx_backends(file, device="cpu") == ["onnxruntime", "openvino"]
    choice = choose_onnx_batch(file, backend="onnxruntime", family="onnx", dtype="float32", asked=("auto", "auto"))
    assert choice == BackendChoice("onnxruntime", "float32", None, "the rule for CPUs chose onnxruntime")


@pytest.mark.usefixtures("machine")
def test_large_files_run_in_openvino(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert order_onnx_backends(file, device="cpu") == ["openvino", "onnxruntime"]
    choice = choose_onnx_batch(file, backend="openvino", family="onnx", dtype="bfloat16", asked=("openvino", "auto"))
    assert choice == BackendChoice("openvino", "bfloat16", 8, "the rule for CPUs chose batches of up to 8")
    nothing = Machine(bfloat16=True, cores=2, runtimes=frozenset(), exports=False)
    monkeypatch.setattr(Machine, "current", lambda: nothing)
    assert order_onnx_backends(file, device="cpu") == ["onnxruntime"], "whose error names the extra"
    assert order_onnx_backends(file, device="cuda:0") == ["onnxruntime"]


@pytest.mark.usefixtures("machine")
def test_a_table_decides_about_a_file(file: Path) -> None:
    fastest = MeasuredChoice("onnxruntime", "the figures", {"onnxruntime": (2.0, 2.0)}, 1)
    save_table(default_path(), [Entry("m", subject_of_file(file, file_bytes(file)), "auto", fastest)])
    assert order_onnx_backends(file, device="cpu") == ["onnxruntime", "openvino"]
    loaded: Any = {"backend": "onnxruntime", "family": "onnx", "dtype": "float32"}
    choice = choose_onnx_batch(file, asked=("auto", "auto"), **loaded)
    assert choice.preferred_batch == 1
    assert choice.reason == f"the table {default_path()} chose onnxruntime and single images (the figures)"
    asked = choose_onnx_batch(file, asked=("auto", "float32"), **loaded)
    assert asked.reason.startswith("the rule"), "measured with dtype auto only"


def test_tables_of_another_machine_do_not_decide(
    source: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table()
    monkeypatch.setattr(cpu, "usable_cores", lambda: machine.cores + 99)
    assert choose_checkpoint_backend(source, device="cpu", dtype="float32").reason.startswith("the rule for CPUs")

"""Backend choice on a CPU: measured once per network, dtype and machine, cached, and skipped for small networks."""

import json
from pathlib import Path
from typing import Any, NoReturn

import onnx
import pytest
from onnx import TensorProto, helper

from tessella.models import backend_choice
from tessella.models import cache as caches
from tessella.models.backend_choice import (
    choose_checkpoint_backend,
    choose_checkpoint_batch_size,
    choose_onnx_backend,
    choose_onnx_batch_size,
)
from tessella.models.backend_timings import recorded_choices
from tessella.models.cache import CacheError
from tessella.models.doctor import diagnose
from tessella.models.errors import CheckpointError
from tessella.models.onnx import export_cache
from tessella.models.onnx.openvino_model import OpenVINOModel

from ..support.exports import VIT, write_checkpoint, write_foreign, write_sidecar

ON_CPU: Any = {"device": "cpu", "dtype": "auto"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tessella" / "choices"


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_choice, "SMALL_MACS", 0)
    monkeypatch.setattr(backend_choice, "SMALL_BYTES", 0)


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(write_checkpoint(tmp_path / "v.safetensors", VIT))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_sidecar(write_foreign(tmp_path / "m.onnx"))


def test_small_networks_are_not_measured(source: str, file: Path, cache: Path) -> None:
    def run(_: object) -> None:
        pytest.fail("measured")

    assert choose_checkpoint_backend(source, **ON_CPU).backend == "auto"
    assert choose_onnx_backend(file, **ON_CPU).backend == "onnxruntime"
    single: Any = {"size": 32, "backend": "torch", "dtype": "auto"}
    assert choose_checkpoint_batch_size(source, run, **single).preferred_batch is None
    assert choose_onnx_batch_size(file, run, **single).preferred_batch is None
    assert not cache.exists()


@pytest.mark.usefixtures("small_is_large")
def test_a_large_checkpoint_is_measured_once(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = write_foreign(tmp_path / "m.onnx", ("n", 32, 32, 3), kind=TensorProto.UINT8)
    stand_in.with_suffix(".json").write_text(json.dumps({"labels": list("abcd")}))
    monkeypatch.setattr(export_cache, "_path", lambda *_: stand_in)
    measured = choose_checkpoint_backend(source, **ON_CPU)
    assert set(measured.rates) == {"torch", "onnxruntime", "openvino"}
    assert measured.preferred_batch in (1, 8)
    monkeypatch.setattr(backend_choice, "_checkpoint_runs", lambda *_: pytest.fail("measured again"))
    assert choose_checkpoint_backend(source, **ON_CPU) == measured
    assert recorded_choices() == [f"v: {measured.reason}"]
    assert ("measured", f"v: {measured.reason}") in diagnose()
    with pytest.raises(pytest.fail.Exception):  # another dtype is measured again
        choose_checkpoint_backend(source, device="cpu", dtype="float32")


@pytest.mark.usefixtures("small_is_large")
def test_a_file_is_measured_only_where_there_is_a_choice(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(choose_onnx_backend(file, **ON_CPU).rates) == {"onnxruntime", "openvino"}
    monkeypatch.setattr(backend_choice, "installed", lambda package: package == "openvino")
    assert choose_onnx_backend(file, **ON_CPU).backend == "openvino"


@pytest.mark.usefixtures("small_is_large")
def test_batches_of_the_one_backend_are_measured_once(source: str, file: Path) -> None:
    """Requested or only backends are measured on their own."""
    sizes: list[int] = []
    for backend in ("torch", "torch", "openvino"):
        choice = choose_checkpoint_batch_size(
            source, lambda pixels: sizes.append(len(pixels)), size=32, backend=backend, dtype="auto"
        )
        assert (choice.backend, set(choice.rates)) == (backend, {backend})
    assert (sizes.count(8), max(sizes)) == (2 * 9, 8)
    choose_onnx_batch_size(file, lambda pixels: sizes.append(len(pixels)), size=8, backend="openvino", dtype="auto")
    assert sizes.count(8) == 3 * 9


@pytest.mark.usefixtures("small_is_large")
def test_backend_and_batch_size_are_cached_separately(file: Path) -> None:
    requested: Any = {"size": 8, "backend": "onnxruntime", "dtype": "auto"}
    alone = choose_onnx_batch_size(file, lambda pixels: None, **requested)
    assert set(choose_onnx_backend(file, **ON_CPU).rates) == {"onnxruntime", "openvino"}
    assert choose_onnx_batch_size(file, lambda pixels: pytest.fail("measured again"), **requested) == alone


@pytest.mark.usefixtures("small_is_large")
def test_the_other_runtime_runs_a_file_that_one_cannot_load(file: Path) -> None:
    model = onnx.load(file)
    model.graph.node.pop()
    model.graph.node.append(
        helper.make_node("Scaler", ["sums"], ["scores"], domain="ai.onnx.ml", scale=[2.0], offset=[0.0])
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(model, file)
    with pytest.raises(CheckpointError, match=r"OpenVINO .* cannot load"):
        OpenVINOModel(file)
    assert set(choose_onnx_backend(file, **ON_CPU).rates) == {"onnxruntime"}


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        '{"network": "m", "backend": "openvino", "reason": "", "milliseconds": {"openvino": 1.5}}',
        '{"network": "m", "backend": "cuda", "reason": "", "rates": {"cuda": [1, 2]}, "preferred_batch": 1}',
        '{"network": "m", "backend": "openvino", "reason": "", "rates": {"openvino": [1, 2]}, "preferred_batch": null}',
        '{"network": "m", "backend": "openvino", "reason": "", "rates": {}, "preferred_batch": 1, "later": 1}',
    ],
)
def test_an_old_or_damaged_cache_file_is_measured_again(damage: str, file: Path, cache: Path) -> None:
    choose_onnx_backend(file, **ON_CPU)
    (cached,) = cache.iterdir()
    cached.write_text(damage)
    assert recorded_choices() == []
    assert choose_onnx_backend(file, **ON_CPU).rates
    document = json.loads(cached.read_text())
    assert document["network"] == "m"
    assert document["preferred_batch"] in (1, 8)
    assert list(cache.iterdir()) == [cached], "no drafts are left"


@pytest.mark.usefixtures("small_is_large")
def test_an_unwritable_cache_is_no_error(
    source: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (blocked := tmp_path / "blocked").touch()  # root may write anywhere, but not below a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    for choice, backend in (
        (choose_checkpoint_backend(source, **ON_CPU), "auto"),
        (choose_onnx_backend(file, **ON_CPU), "auto"),
    ):
        assert (choice.backend, choice.rates, choice.preferred_batch) == (backend, {}, None)
    assert "not measured how fast v is" in caplog.text
    assert "cannot be written" in caplog.text


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("failure", [CheckpointError("no"), RuntimeError("no"), CacheError("full")], ids=type)
def test_torch_runs_a_network_that_cannot_be_exported(
    failure: Exception, source: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choices are cached, but not after a cache error, which may be temporary."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(backend_choice, "load_cached_export", fail)
    choice = choose_checkpoint_backend(source, **ON_CPU)
    if isinstance(failure, CacheError):
        assert (choice.backend, choice.rates, list(cache.iterdir())) == ("auto", {}, [])
    else:
        assert (choice.backend, set(choice.rates), len(list(cache.iterdir()))) == ("torch", {"torch"}, 1)


@pytest.mark.usefixtures("small_is_large")
def test_a_full_disk_is_logged(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert choose_onnx_backend(file, **ON_CPU).rates
    assert "cannot be cached: [Errno 28] No space left" in caplog.text
    assert list(cache.iterdir()) == []


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> NoReturn:
        raise KeyError("uid not found")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert recorded_choices() == []
    with pytest.raises(CacheError, match="set XDG_CACHE_HOME"):
        caches.cache_folder("choices")

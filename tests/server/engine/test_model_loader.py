"""Model loader: overrides, batch sizes by rule and table without timing, and fallbacks of the backend choice."""

import asyncio
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessella.models import backend_rule
from tessella.models.backend_rule import batch_size
from tessella.models.backend_timings import Entry, MeasuredChoice, plain, save_table
from tessella.models.cache import CacheError
from tessella.models.cpu import usable_cores
from tessella.models.onnx import export_cache
from tessella.models.registry import describe
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.model_loader import load_runner, model_options, start_worker
from tessella.server.engine.tasks import Task
from tessella.server.settings import Settings

from ...support.exports import write_foreign


def test_image_size_can_be_overridden() -> None:
    native = describe("digits-vit").preprocessing.size
    runner = load_runner("digits-vit", device="cpu", image_size=2 * native)
    assert runner.info.preprocessing.size == 2 * native
    pixels = np.zeros((1, 2 * native, 2 * native, 3), np.uint8)
    assert runner.run(pixels).shape == (1, 10)


def test_engine_passes_overrides_to_the_loader() -> None:
    with pytest.raises(ValueError, match="25"):
        asyncio.run(AsyncEngine.load("digits-vit", device="cpu", image_size=25))
    settings = Settings(architecture="vit_tiny_patch16_224", image_size=96)
    assert (settings.architecture, settings.image_size) == ("vit_tiny_patch16_224", 96)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder, with small networks treated as large ones are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend_rule, "SMALL_MACS", 0)
    monkeypatch.setattr(backend_rule, "SMALL_BYTES", 0)
    return tmp_path / "cache" / "tessella"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder of exports with digits-vit in it."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        export_cache.cached_export("digits-vit")
    return folder / "tessella" / "onnx"


@pytest.fixture
def exported(cache: Path, export: Path) -> Path:
    """`cache` with the export of digits-vit in it."""
    shutil.copytree(export, cache / "onnx")
    return cache


def store_timings(path: Path, backend: str, preferred_batch: int, dtype: str = "float32") -> Path:
    """Write a table in which `backend` runs digits-vit fastest."""
    subject = plain({"config": asdict(describe("digits-vit").config)})
    choice = MeasuredChoice(backend, "the figures", {backend: (1.0, 2.0)}, preferred_batch)
    save_table(path, [Entry("digits-vit", subject, dtype, choice)])
    return path


@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
def test_max_batch_size_is_the_preferred_one(backend: str, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rule, or of a table; an explicit size overrides both. Nothing is timed."""
    forbid_timing(monkeypatch)
    arguments: dict[str, Any] = {"device": "cpu", "dtype": "float32", "backend": backend}
    worker = start_worker("digits-vit", "d", **arguments)
    worker.close()
    assert worker.max_batch_size == worker.info.preferred_batch == batch_size(usable_cores())
    assert worker.info.backend == ("openvino" if backend == "auto" else backend)
    assert f"the rule for CPUs chose {'openvino and ' if backend == 'auto' else ''}batches" in worker.info.choice
    table = store_timings(exported / "backend-timings.json", worker.info.backend, 7)
    for given, largest in ((None, 7), (5, 5)):
        worker = start_worker("digits-vit", "d", given, **arguments)
        worker.close()
        assert worker.max_batch_size == largest
        assert f"the table {table} chose" in worker.info.choice


def forbid_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it an error that `models` or the loader reads a clock."""
    clock = time.perf_counter

    def read() -> float:
        caller = sys._getframe(1).f_globals["__name__"]
        assert not caller.startswith(("tessella.models", "tessella.server.engine.model_loader")), f"{caller} is timing"
        return clock()

    monkeypatch.setattr(time, "perf_counter", read)
    with pytest.raises(AssertionError, match="is timing"):
        exec("time.perf_counter()", {"__name__": "tessella.models.example", "time": time})


def test_a_given_table_decides_backend_dtype_and_batch_size(cache: Path, tmp_path: Path) -> None:
    table = store_timings(tmp_path / "t.json", "torch", 3)
    store_timings(table, "torch", 3, "bfloat16")
    settings = Settings(device="cpu", backend_timings=table)
    worker = start_worker("digits-vit", "d", **model_options(settings))
    worker.close()
    assert (worker.info.backend, worker.info.dtype, worker.max_batch_size) == ("torch", "float32", 3)
    assert f"the table {table} chose torch, float32 and batches of up to 3 (the figures)" in worker.info.choice
    with pytest.raises(ValueError, match="there is no file"):
        asyncio.run(AsyncEngine.load("digits-vit", device="cpu", backend_timings=tmp_path / "missing.json"))


@pytest.mark.usefixtures("exported")
def test_other_results_than_logits_are_float32_unless_requested() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    exact = load_runner("digits-vit", device="cpu", backend="torch", dtype="float32").run(pixels, Task.FEATURES)
    runner = load_runner("digits-vit", device="cpu", backend="openvino")
    assert (runner.run(pixels, Task.FEATURES) == exact).all()
    rounded = load_runner("digits-vit", device="cpu", backend="openvino", dtype="float32")
    assert (rounded.run(pixels, Task.FEATURES) == exact).all()


def test_small_network_has_no_preferred_batch() -> None:
    worker = start_worker("digits-vit", "d", device="cpu")
    worker.close()
    assert (worker.max_batch_size, worker.info.preferred_batch) == (32, None)
    assert (worker.info.backend, worker.info.dtype) == ("torch", "float32")
    assert worker.info.choice.endswith("the rule for CPUs chose torch and float32 for a small network")


def test_a_loaded_torch_model_leaves_the_cache_untouched(cache: Path) -> None:
    start_worker("digits-vit", "d", 4, device="cpu", dtype="float32", backend="torch").close()
    assert not cache.exists()


@pytest.mark.parametrize("loss", ["unwritable", "damaged", "unexportable"])
def test_a_lost_export_falls_back_to_torch(
    loss: str, exported: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a cache that is read-only meanwhile; requesting the backend explicitly is an error."""
    arguments: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
    start_worker("digits-vit", "d", **arguments).close()
    (export,) = (exported / "onnx").glob("*/model.onnx")
    if loss == "damaged":
        export.write_bytes(b"onnx")
    else:
        shutil.rmtree(exported / "onnx")
    error: Exception = CacheError(f"the cache {exported} cannot be written: Read-only file system")
    if loss == "unexportable":
        error = RuntimeError("Read-only operator")  # as torch raises of what it cannot trace

    def fail(_: Path) -> Path:
        raise error

    monkeypatch.setattr(export_cache, "make_cache_folder", fail)
    worker = start_worker("digits-vit", "d", **arguments)
    worker.close()
    assert worker.info.backend == "torch"
    assert "the faster openvino failed to load; the rule for CPUs chose torch" in worker.info.choice
    assert "digits-vit runs on torch instead of the faster openvino" in caplog.text
    assert "Read-only" in caplog.text
    with pytest.raises(type(error), match="Read-only"):
        start_worker("digits-vit", "d", backend="openvino", **arguments)


def test_onnx_file_takes_no_overrides(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="apply to checkpoints only"):
        load_runner(str(write_foreign(tmp_path / "m.onnx")), image_size=8)

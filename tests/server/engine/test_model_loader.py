"""Model loader: overrides, measured batch sizes, and fallbacks of the backend choice."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessella.models import backend_choice, backend_timings
from tessella.models.cache import CacheError
from tessella.models.onnx import export_cache
from tessella.models.registry import describe
from tessella.server.engine.engine import AsyncEngine
from tessella.server.engine.model_loader import load_runner, start_worker
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
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder, with small networks measured as large ones are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend_choice, "SMALL_MACS", 0)
    monkeypatch.setattr(backend_choice, "SMALL_BYTES", 0)
    return tmp_path / "cache" / "tessella"


def store_choice(cache: Path, backend: str, preferred_batch: int) -> None:
    """Overwrite the cached choice: a measurement cannot be forced to have a certain result."""
    (file,) = (cache / "choices").iterdir()
    document = json.loads(file.read_text())
    rates = {backend: [1.0, 2.0]}
    file.write_text(json.dumps(document | {"backend": backend, "rates": rates, "preferred_batch": preferred_batch}))


@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
def test_max_batch_size_is_the_measured_best(backend: str, measured: Path) -> None:
    """An explicit size overrides it."""
    arguments: dict[str, Any] = {"device": "cpu", "dtype": "float32", "backend": backend}
    worker = start_worker("digits-vit", "d", **arguments)
    try:
        assert worker.max_batch_size == worker.info.preferred_batch in (1, 8)
        assert "ms for one image" in worker.info.choice
        assert "in batches of 8" in worker.info.choice
    finally:
        worker.close()
    store_choice(measured, worker.info.backend, 7)
    for given, largest in ((None, 7), (5, 5)):
        worker = start_worker("digits-vit", "d", given, **arguments)
        worker.close()
        assert worker.max_batch_size == largest
    assert len(list((measured / "choices").iterdir())) == 1, "measured once"


def test_small_network_is_not_measured() -> None:
    worker = start_worker("digits-vit", "d", device="cpu", dtype="float32")
    worker.close()
    assert (worker.max_batch_size, worker.info.preferred_batch) == (32, None)


def test_explicit_batch_size_is_not_measured(measured: Path) -> None:
    start_worker("digits-vit", "d", 4, device="cpu", dtype="float32", backend="torch").close()
    assert not measured.exists()


@pytest.mark.parametrize("loss", ["unwritable", "damaged"])
def test_cached_choice_whose_export_is_lost_falls_back_to_torch(
    loss: str, measured: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a cache that is read-only meanwhile; requesting the backend explicitly is an error."""
    arguments: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
    start_worker("digits-vit", "d", **arguments).close()
    store_choice(measured, "openvino", 8)
    (export,) = (measured / "onnx").glob("*/model.onnx")
    if loss == "damaged":
        export.write_bytes(b"onnx")
    else:
        shutil.rmtree(measured / "onnx")

    def read_only(folder: Path) -> Path:
        raise CacheError(f"the cache {folder} cannot be written: Read-only file system")

    monkeypatch.setattr(export_cache, "make_cache_folder", read_only)
    monkeypatch.setattr(backend_timings, "make_cache_folder", read_only)
    worker = start_worker("digits-vit", "d", **arguments)
    worker.close()
    assert worker.info.backend == "torch"
    assert "the faster openvino failed to load" in worker.info.choice
    assert "digits-vit runs on torch instead of the faster openvino" in caplog.text
    assert "Read-only file system" in caplog.text
    with pytest.raises(CacheError, match="Read-only"):
        start_worker("digits-vit", "d", backend="openvino", **arguments)


def test_onnx_file_takes_no_overrides(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="apply to checkpoints only"):
        load_runner(str(write_foreign(tmp_path / "m.onnx")), image_size=8)

"""What a user says of a checkpoint reaches what loads it, through the engine too."""

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


def test_another_image_size_is_served() -> None:
    native = describe("digits-vit").preprocessing.size
    runner = load_runner("digits-vit", device="cpu", image_size=2 * native)
    assert runner.info.preprocessing.size == 2 * native
    pixels = np.zeros((1, 2 * native, 2 * native, 3), np.uint8)
    assert runner.run(pixels).shape == (1, 10)


def test_the_engine_passes_it_on() -> None:
    with pytest.raises(ValueError, match="25"):
        asyncio.run(AsyncEngine.load("digits-vit", device="cpu", image_size=25))
    settings = Settings(architecture="vit_tiny_patch16_224", image_size=96)
    assert (settings.architecture, settings.image_size) == ("vit_tiny_patch16_224", 96)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small networks are measured as large ones are. Returns the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend_choice, "SMALL_MACS", 0)
    monkeypatch.setattr(backend_choice, "SMALL_BYTES", 0)
    return tmp_path / "cache" / "tessella"


def remember(cache: Path, backend: str, preferred_batch: int) -> None:
    """What was measured is not what a test can wait for to come out so."""
    (file,) = (cache / "choices").iterdir()
    document = json.loads(file.read_text())
    rates = {backend: [1.0, 2.0]}
    file.write_text(json.dumps(document | {"backend": backend, "rates": rates, "preferred_batch": preferred_batch}))


@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
def test_the_largest_batch_is_the_one_that_gains(backend: str, measured: Path) -> None:
    """Unless it was given; and a network that is small is not asked."""
    arguments: dict[str, Any] = {"device": "cpu", "dtype": "float32", "backend": backend}
    worker = start_worker("digits-vit", "d", **arguments)
    try:
        assert worker.max_batch_size == worker.info.preferred_batch in (1, 8)
        assert "ms for one image" in worker.info.choice
        assert "in batches of 8" in worker.info.choice
    finally:
        worker.close()
    remember(measured, worker.info.backend, 7)
    for given, largest in ((None, 7), (5, 5)):
        worker = start_worker("digits-vit", "d", given, **arguments)
        worker.close()
        assert worker.max_batch_size == largest
    assert len(list((measured / "choices").iterdir())) == 1, "measured once"


def test_what_is_small_is_not_asked() -> None:
    worker = start_worker("digits-vit", "d", device="cpu", dtype="float32")
    worker.close()
    assert (worker.max_batch_size, worker.info.preferred_batch) == (32, None)


def test_a_given_batch_leaves_nothing_to_measure(measured: Path) -> None:
    start_worker("digits-vit", "d", 4, device="cpu", dtype="float32", backend="torch").close()
    assert not measured.exists()


@pytest.mark.parametrize("loss", ["unwritable", "damaged"])
def test_a_remembered_runtime_whose_file_is_lost_is_torch(
    loss: str, measured: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache that was filled once and is read-only since; where the runtime was asked for it is an error."""
    arguments: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
    start_worker("digits-vit", "d", **arguments).close()
    remember(measured, "openvino", 8)
    (kept,) = (measured / "onnx").glob("*/model.onnx")
    if loss == "damaged":
        kept.write_bytes(b"onnx")
    else:
        shutil.rmtree(measured / "onnx")

    def read_only(folder: Path) -> Path:
        raise CacheError(f"the cache {folder} cannot be written: Read-only file system")

    monkeypatch.setattr(export_cache, "make_cache_folder", read_only)
    monkeypatch.setattr(backend_timings, "make_cache_folder", read_only)
    worker = start_worker("digits-vit", "d", **arguments)
    worker.close()
    assert worker.info.backend == "torch"
    assert "openvino, which was fastest here, could not be had" in worker.info.choice
    assert "digits-vit runs on torch, not on openvino" in caplog.text
    assert "Read-only file system" in caplog.text
    with pytest.raises(CacheError, match="Read-only"):
        start_worker("digits-vit", "d", backend="openvino", **arguments)


def test_an_onnx_file_says_itself_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are for checkpoints"):
        load_runner(str(write_foreign(tmp_path / "m.onnx")), image_size=8)

"""Export cache: exported once, again if damaged, and either complete or absent."""

import multiprocessing
import resource
from pathlib import Path

import numpy as np
import pytest

from tessella.models.cache import CacheError
from tessella.models.errors import CheckpointError, OperatorError
from tessella.models.onnx import export as exports
from tessella.models.onnx import export_cache
from tessella.models.onnx.export import ExportOptions, export
from tessella.models.onnx.export_cache import cached_export, load_cached_export
from tessella.models.onnx.model import OnnxModel
from tessella.models.onnx.onnxruntime_model import OnnxRuntimeModel
from tessella.models.onnx.openvino_model import OpenVINOModel

from ...support.exports import VIT, pixels, write_checkpoint


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tessella" / "onnx"


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(write_checkpoint(tmp_path / "v.safetensors", VIT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    made = export(str(write_checkpoint(folder / "v.safetensors", VIT)), folder / "m.onnx", ExportOptions())
    return made.files[0].read_bytes()


@pytest.fixture
def quick(whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are copies of one file."""
    monkeypatch.setattr(exports, "export", lambda source, path, *_, **__: path.write_bytes(whole))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("model", [OnnxRuntimeModel, OpenVINOModel])
@pytest.mark.parametrize("part", [0, 0.5, 0.99])
def test_a_damaged_file_is_exported_once_more(
    part: float, model: type[OnnxModel], source: str, whole: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = cached_export(source)
    path.write_bytes(whole[: int(part * len(whole))])
    logits = load_cached_export(source, model).logits(pixels(32, 2).numpy())
    assert np.isfinite(logits).all()
    assert path.stat().st_size == len(whole)
    assert "is damaged and is exported again" in caplog.text
    load_cached_export(source, model)
    assert caplog.text.count("exported again") == 1


@pytest.mark.usefixtures("quick")
def test_a_file_that_never_loads_is_exported_once_more_only(source: str) -> None:
    tries = []

    def load(path: Path) -> None:
        tries.append(path)
        raise CheckpointError("not here")

    for count in (1, 3):  # a new file is not exported again
        with pytest.raises(CheckpointError, match="not here"):
            load_cached_export(source, load)
        assert len(tries) == count


@pytest.mark.usefixtures("quick")
def test_a_deleted_file_is_exported_again(source: str) -> None:
    path = cached_export(source)
    model = OnnxRuntimeModel(path)
    path.unlink()
    path.parent.rmdir()
    model.logits(pixels(32, 1).numpy())
    assert cached_export(source) == path
    assert path.is_file()


def test_a_full_disk_leaves_nothing_and_says_so(source: str, cache: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, hard))
    try:
        with pytest.raises(CacheError, match=r"v\.safetensors cannot be cached as .*model\.onnx: File too large"):
            cached_export(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (folder,) = cache.iterdir()
    assert list(folder.iterdir()) == []


def export_here(source: str) -> bool:
    return bool(np.isfinite(load_cached_export(source, OnnxRuntimeModel).logits(pixels(32, 1).numpy())).all())


def test_two_processes_may_export_at_once(source: str, cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(export_here, [source, source], chunksize=1) == [True, True]
    (folder,) = cache.iterdir()
    assert [file.name for file in folder.iterdir()] == ["model.onnx"]


def test_external_data_is_moved_before_the_file_that_needs_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "INLINE_LIMIT", 0)
    moved: list[str] = []
    replace = Path.replace

    def watch(file: Path, target: Path) -> Path:
        moved.append(file.name)
        return replace(file, target)

    monkeypatch.setattr(Path, "replace", watch)
    made = export(source, tmp_path / "m.onnx", ExportOptions())
    assert moved == ["m.onnx.data", "m.onnx"]
    assert [file.name for file in made.files] == ["m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx.data").stat().st_size > 10_000


def test_the_cache_key_covers_checkpoint_configs_and_dtype(source: str, tmp_path: Path) -> None:
    keys = {export_cache._path(source, dtype, {}) for dtype in ("auto", "float32", "float16")}
    assert len(keys) == 2
    write_checkpoint(tmp_path / "v.safetensors", VIT)  # written again
    keys.add(export_cache._path(source, "auto", {}))
    assert len(keys) == 3
    for sidecar in ("config.json", "preprocessor_config.json"):  # labels and normalisation are in the file
        for document in ("{}", '{"image_mean": [0.1, 0.2, 0.3]}'):
            (tmp_path / sidecar).write_text(document)
            keys.add(export_cache._path(source, "auto", {}))
    assert len(keys) == 7


@pytest.mark.usefixtures("quick")
def test_an_intact_file_with_an_unsupported_operator_is_kept(source: str, caplog: pytest.LogCaptureFixture) -> None:
    cached_export(source)
    tries = []

    def load(path: Path) -> None:
        tries.append(path)
        raise OperatorError("no bfloat16 here")

    with pytest.raises(OperatorError, match="no bfloat16 here"):
        load_cached_export(source, load)
    assert len(tries) == 1
    assert "damaged" not in caplog.text

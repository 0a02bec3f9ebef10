"""Cache folders: their paths, and an early error if they cannot be written."""

import sys
from pathlib import Path

import pytest

from tessella.models.cache import CacheError, cache_folder, make_cache_folder, make_kernel_cache
from tessella.models.onnx.export_cache import cached_export


def test_a_cache_folder_is_created_empty(tmp_path: Path) -> None:
    assert make_cache_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_the_cache_folder_follows_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("onnx") == tmp_path / "tessella" / "onnx"
    monkeypatch.setenv("HOME", str(tmp_path))
    default = tmp_path / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tessella" / "onnx"
    for unset in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder("onnx") == default


def test_the_error_for_an_unwritable_cache_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "file").touch()  # root may write anywhere, but not below a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    with pytest.raises(CacheError, match=r"file/tessella/onnx/\S+ cannot be written: Not a directory.*XDG_CACHE_HOME"):
        cached_export("digits-vit")
    with pytest.raises(CacheError, match="set XDG_CACHE_HOME"):
        make_cache_folder(cache_folder("onnx"))


def test_the_cache_of_kernels_is_tritons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    monkeypatch.setenv("TRITON_HOME", str(tmp_path))
    assert make_kernel_cache() == tmp_path / ".triton" / "cache"
    (file := tmp_path / "file").touch()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(file / "kernels"))
    with pytest.raises(CacheError, match=r"file/kernels cannot be written.*set TRITON_CACHE_DIR"):
        make_kernel_cache()

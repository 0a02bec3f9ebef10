"""Cache of ONNX exports: checkpoints that a runtime serves as .onnx files, exported on first use."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, Unpack

from ..cache import CacheError, cache_folder, make_cache_folder
from ..checkpoints.sources import Overrides, locate
from ..errors import CheckpointError, OperatorError
from ..packages import version

T = TypeVar("T")
_log = logging.getLogger(__name__)


def cached_export(source: str, *, dtype: str = "auto", **overrides: Unpack[Overrides]) -> Path:
    """The .onnx file of a checkpoint, exported now unless the cache has it; an export needs torch.

    Args:
        source, overrides: as `load_model`.
        dtype: of the file; `auto` is float32.

    Raises:
        CacheError: the cache cannot be written.
        CheckpointError, ModelNotFoundError, ValueError: the checkpoint cannot be loaded or exported.
    """
    path = _path(source, dtype, overrides)
    if not path.is_file():
        _export(source, path, dtype, overrides)
    return path


def load_cached_export(
    source: str, load: Callable[[Path], T], *, dtype: str = "auto", **overrides: Unpack[Overrides]
) -> T:
    """Load the .onnx file of a checkpoint with `load`; a cached file that does not load is exported once more.

    Raises as `cached_export` and `load`.
    """
    path = _path(source, dtype, overrides)
    if path.is_file():
        try:
            return load(path)
        except OperatorError:
            raise  # the file is intact, and another export would be the same
        except (CheckpointError, OSError) as error:
            _log.warning("the cached export of %s is damaged and is exported again: %s", source, error)
    _export(source, path, dtype, overrides)
    return load(path)


def _export(source: str, path: Path, dtype: str, overrides: Overrides) -> None:
    """Export to the cache, without the check against PyTorch; an existing file is replaced by the complete new one."""
    from .export import ExportOptions, export

    make_cache_folder(path.parent)
    _log.info("exporting %s to %s, which is cached", source, path)
    try:
        export(source, path, ExportOptions(dtype=_file_dtype(dtype)), check=False, **overrides)
    except OSError as error:
        raise CacheError(f"{source} cannot be cached as {path}: {error.strerror or error}") from error


def _path(source: str, dtype: str, overrides: Overrides) -> Path:
    return cache_folder("onnx") / _fingerprint(source, _file_dtype(dtype), overrides) / "model.onnx"


def _file_dtype(dtype: str) -> str:
    return "float32" if dtype == "auto" else dtype


def _fingerprint(source: str, dtype: str, overrides: Overrides) -> str:
    """Cache key: the checkpoint's files, configs and overrides, the dtype, and the exporter's versions."""
    checkpoint = locate(source)
    versions = [version(name) for name in ("tessella", "torch", "onnx_ir")]
    files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.weights]
    parts = (files, checkpoint.config, checkpoint.preprocessor, versions, dtype, *sorted(overrides.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]

"""Checkpoints that a runtime serves as ONNX, exported once and kept in the cache."""

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


def exported(source: str, *, dtype: str = "auto", **overrides: Unpack[Overrides]) -> Path:
    """The .onnx file of a checkpoint: from the cache, or made now, which needs torch and takes a while.

    Args:
        source, overrides: as `load_model`.
        dtype: of the file; `auto` is float32.

    Raises:
        CacheError: it cannot be kept.
        CheckpointError, ModelNotFoundError, ValueError: it cannot be loaded or exported.
    """
    path = _path(source, dtype, overrides)
    if not path.is_file():
        _export(source, path, dtype, overrides)
    return path


def open_exported(source: str, load: Callable[[Path], T], *, dtype: str = "auto", **overrides: Unpack[Overrides]) -> T:
    """What `load` makes of the .onnx file of a checkpoint; a kept file that does not load is made once more.

    Raises as `exported`, and what `load` raises.
    """
    path = _path(source, dtype, overrides)
    if path.is_file():
        try:
            return load(path)
        except OperatorError:
            raise  # the file is whole, and would be the same again
        except (CheckpointError, OSError) as error:
            _log.warning("what the cache holds of %s is damaged, and made anew: %s", source, error)
    _export(source, path, dtype, overrides)
    return load(path)


def _export(source: str, path: Path, dtype: str, overrides: Overrides) -> None:
    """In place of the file that is there, if one is, once the new one is whole."""
    from .export import Wishes, export
    from .verify import ExportError

    make_cache_folder(path.parent)
    _log.info("exporting %s to %s: once, then it is kept", source, path)
    try:
        export(source, path, Wishes(dtype=_file_dtype(dtype)), **overrides)
    except ExportError as error:
        raise CheckpointError(f"{source} cannot be served from ONNX: {error}") from error
    except OSError as error:
        raise CacheError(f"{source} cannot be kept as {path}: {error.strerror or error}") from error


def _path(source: str, dtype: str, overrides: Overrides) -> Path:
    return cache_folder("onnx") / _fingerprint(source, _file_dtype(dtype), overrides) / "model.onnx"


def _file_dtype(dtype: str) -> str:
    return "float32" if dtype == "auto" else dtype


def _fingerprint(source: str, dtype: str, overrides: Overrides) -> str:
    """Of the files as they lie there, of what is overrides of them beside, and of what makes the export."""
    found = locate(source)
    versions = [version(name) for name in ("tessella", "torch", "onnxscript")]
    files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in found.weights]
    parts = (files, found.config, found.preprocessor, versions, dtype, *sorted(overrides.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]

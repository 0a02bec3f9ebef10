"""Checkpoints that a runtime serves as ONNX, exported once and kept in the cache."""

import hashlib
import logging
from pathlib import Path
from typing import Unpack

from .cache import cache_folder, make_cache
from .errors import CheckpointError
from .packages import version
from .sources import Said, locate

_log = logging.getLogger(__name__)


def exported(source: str, *, dtype: str = "auto", **said: Unpack[Said]) -> Path:
    """The .onnx file of a checkpoint: from the cache, or made now, which needs torch and takes a while.

    Args:
        source, said: as `load_model`.
        dtype: of the file; `auto` is float32.

    Raises:
        CheckpointError, ModelNotFoundError, ValueError: it cannot be loaded or exported, or not be kept.
    """
    from .export import Wishes, export
    from .export_check import ExportError

    wishes = Wishes(dtype="float32" if dtype == "auto" else dtype)
    folder = cache_folder("onnx") / _fingerprint(source, wishes.dtype, said)
    path = folder / "model.onnx"
    if not path.is_file():
        make_cache(folder)
        _log.info("exporting %s to %s: once, then it is kept", source, path)
        try:
            export(source, path, wishes, **said)
        except ExportError as error:
            raise CheckpointError(f"{source} cannot be served from ONNX: {error}") from error
    return path


def _fingerprint(source: str, dtype: str, said: Said) -> str:
    """Of the files as they lie there, and of what makes the export."""
    versions = [version(name) for name in ("tessella", "torch", "onnxscript")]
    files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in locate(source).weights]
    return hashlib.sha256(repr((files, versions, dtype, *sorted(said.items()))).encode()).hexdigest()[:24]

"""Cache folders: results that cost time, kept between runs in the platform's cache folder of this user."""

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


class CacheError(ValueError):
    """A folder that must keep something cannot be written; the message says how to give it another place."""


def cache_folder(kind: str) -> Path:
    """The cache folder `tessella/<kind>` below `$XDG_CACHE_HOME`, an absolute path, or by default `~/.cache`.

    On macOS the default is `~/Library/Caches`. The folder is not made yet.

    Raises:
        CacheError: this user has no home, and the variable is not set.
    """
    message = "there is no place for the cache, as this user has no home: set XDG_CACHE_HOME to an absolute path"
    try:
        folder = user_cache_path("tessella")
    except RuntimeError as error:
        raise CacheError(message) from error
    if not folder.is_absolute():  # of a platformdirs that raises no error
        raise CacheError(message)
    return folder / kind


def make_cache_folder(folder: Path, variable: str = "XDG_CACHE_HOME") -> Path:
    """The folder, made where it was not there, and sure to take files.

    Args:
        variable: the one that moves it.

    Raises:
        CacheError: nothing can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = error.strerror or error
        raise CacheError(
            f"the cache {folder} cannot be written: {reason}. Mount a writable volume there, or set {variable}"
        ) from error


def make_kernel_cache() -> Path:
    """Where triton keeps compiled kernels, by its own variables.

    Raises:
        CacheError: nothing can be written into it: each start would compile them again, or fail.
    """
    home = Path(os.environ.get("TRITON_HOME") or Path.home())
    return make_cache_folder(Path(os.environ.get("TRITON_CACHE_DIR") or home / ".triton" / "cache"), "TRITON_CACHE_DIR")

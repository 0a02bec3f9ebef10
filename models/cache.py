"""Cache folders: exports, backend timings and compiled kernels, kept between runs. No torch."""

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


class CacheError(ValueError):
    """Cache folder that cannot be written; the message names the variable that moves it."""


def cache_folder(kind: str) -> Path:
    """Cache folder `tessella/<kind>` below `$XDG_CACHE_HOME`, an absolute path, or by default `~/.cache`.

    On macOS the default is `~/Library/Caches`. The folder is not created.

    Raises:
        CacheError: this user has no home folder and the variable is not set.
    """
    message = "there is no cache folder, as this user has no home: set XDG_CACHE_HOME to an absolute path"
    try:
        folder = user_cache_path("tessella")
    except RuntimeError as error:
        raise CacheError(message) from error
    if not folder.is_absolute():  # some versions of platformdirs return a relative path instead of raising
        raise CacheError(message)
    return folder / kind


def make_cache_folder(folder: Path, variable: str = "XDG_CACHE_HOME") -> Path:
    """Create a cache folder if it does not exist, check that it is writable, and return it.

    Args:
        variable: the environment variable that moves it, for the message.

    Raises:
        CacheError: it cannot be written.
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
    """Create triton's cache of compiled kernels, at the path that its own variables give, and return it.

    Raises:
        CacheError: it cannot be written, so each start would compile again, or fail.
    """
    home = Path(os.environ.get("TRITON_HOME") or Path.home())
    return make_cache_folder(Path(os.environ.get("TRITON_CACHE_DIR") or home / ".triton" / "cache"), "TRITON_CACHE_DIR")

"""Where results that cost time are kept between runs: a folder of this user's, by the XDG convention."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """`$XDG_CACHE_HOME/tessella/<kind>`, by default below `~/.cache`; not made yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tessella" / kind

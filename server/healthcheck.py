"""Health check: `python -m tessella.server.healthcheck [URL]` exits 0 if the service on this machine is ready, else 1.

For a container's health check, which runs every few seconds: it reads the few settings it needs by itself, in a
twentieth of the time that the settings' library takes to be imported. Options of `tessella serve` it cannot see: set
port, address and certificate by variable or in `tessella.toml`, or give it the URL.
"""

import os
import ssl
import sys
import tomllib
import urllib.request
from pathlib import Path

_SECONDS = 4.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def address() -> str:
    """Where the service listens, by its variables and its file, as `http://127.0.0.1:8000`."""
    file = Path("tessella.toml")
    written = tomllib.loads(file.read_text()) if file.is_file() else {}

    def setting(name: str, default: str) -> str:
        return os.environ.get(f"TESSELLA_{name.upper()}") or str(written.get(name, default))

    host = setting("host", "127.0.0.1")
    host = _ANY.get(host, host)
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if setting("tls_certificate", "") else "http"
    return f"{scheme}://{host}:{setting('port', '8000')}"


def unready(url: str) -> str:
    """Why the service at `url` takes no requests; empty where it does. Its certificate is not checked."""
    unchecked = ssl._create_unverified_context() if url.startswith("https:") else None
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        *([urllib.request.HTTPSHandler(context=unchecked)] if unchecked else []),
    )
    try:
        with direct.open(f"{url}/readyz", timeout=_SECONDS):
            return ""
    except (OSError, ValueError) as error:  # ValueError: what is not a URL
        return f"{url}/readyz: {error}"


if __name__ == "__main__":
    if reason := unready(sys.argv[1] if len(sys.argv) > 1 else address()):
        sys.exit(reason)

"""Health check: `python -m tessella.server.healthcheck [URL]` exits 0 if the service on this machine is ready, else 1.

Meant for a container's health check, which runs every few seconds: it reads the few settings it needs itself, in a
twentieth of the time that importing pydantic-settings takes. It cannot see the options of `tessella serve`: set host,
port and certificate by environment variable or in `tessella.toml`, or pass the URL.
"""

import os
import ssl
import sys
import tomllib
import urllib.request
from pathlib import Path

_TIMEOUT_SECONDS = 4.0
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def service_url() -> str:
    """URL of the service from its environment variables and settings file, such as `http://127.0.0.1:8000`."""
    file = Path("tessella.toml")
    file_settings = tomllib.loads(file.read_text()) if file.is_file() else {}

    def setting(name: str, default: str) -> str:
        return os.environ.get(f"TESSELLA_{name.upper()}") or str(file_settings.get(name, default))

    host = setting("host", "127.0.0.1")
    host = _LOOPBACK.get(host, host)
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if setting("tls_certificate", "") else "http"
    return f"{scheme}://{host}:{setting('port', '8000')}"


def readiness_error(url: str) -> str:
    """Reason why the service at `url` is not ready; empty if it is. Its certificate is not verified."""
    context = ssl._create_unverified_context() if url.startswith("https:") else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        *([urllib.request.HTTPSHandler(context=context)] if context else []),
    )
    try:
        with opener.open(f"{url}/readyz", timeout=_TIMEOUT_SECONDS):
            return ""
    except (OSError, ValueError) as error:  # ValueError: not a URL
        return f"{url}/readyz: {error}"


if __name__ == "__main__":
    if reason := readiness_error(sys.argv[1] if len(sys.argv) > 1 else service_url()):
        sys.exit(reason)

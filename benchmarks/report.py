"""Where and when something was measured, and the one JSON document a benchmark ends with."""

import datetime
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch


def circumstances(device: str) -> dict[str, Any]:
    """Machine, versions, date and commit: what a figure means nothing without."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def give_up(what: str, error: Exception) -> None:
    """What a measurement does, unless told otherwise, with something that fails."""
    raise error


def write(document: dict[str, Any], path: Path | None) -> None:
    """The document as one line on standard output, or indented into a file."""
    if path is None:
        print(json.dumps(document))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")


def _device_name(device: str) -> str:
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """Of the source tree this runs from; None from a wheel. A `+` means that it was changed since."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

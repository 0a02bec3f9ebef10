"""One thread per test process, kernels in Triton's interpreter where there is no GPU, and one real service to ask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server.live import served

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # tests that import onnxruntime themselves tell nobody either
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # triton reads it when it is imported, which is later


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of `tessella serve` with the checkpoints that ship and small limits."""
    with served("--max-body-bytes", "2000000", "--max-pixels", "1000000") as url:
        yield url

"""One thread per test process, kernels in Triton's interpreter where there is no GPU, and one real service to ask."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from .support.live import served

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # tests that import onnxruntime themselves tell nobody either
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # triton reads it when it is imported, which is later

if "TESSELLA_TEST_WHEEL" in os.environ:  # which has no training: the source tree's runs on what is installed
    training = ModuleType("tessella.models.zoo.training")
    training.__path__ = [str(Path(__file__).parents[1] / "models" / "zoo" / "training")]
    sys.modules[training.__name__] = training


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """URL of `tessella serve` with the shipped checkpoints and small limits."""
    with served("--max-body-bytes", "2000000", "--max-pixels", "1000000") as url:
        yield url

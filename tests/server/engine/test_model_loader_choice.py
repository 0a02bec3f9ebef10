"""Model loader in fresh processes: twelve loads on a busy machine make one choice and give one answer, to the bit."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tessella.models.backend_rule import NetworkSize
from tessella.models.config import ViTConfig

from ...support.exports import write_checkpoint

PROCESSES, LOADS = 3, 4
LARGE = ViTConfig(image_size=32, patch_size=4, dim=256, depth=3, heads=4, mlp_dim=1024, num_classes=7)
PROGRAM = """
import hashlib, sys
import numpy as np
from tessella.server.engine.model_loader import load_runner

pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
for _ in range(int(sys.argv[2])):
    runner = load_runner(sys.argv[1], device="cpu")
    info = runner.info
    logits = [runner.run(pixels), runner.run(pixels[:1])]
    digest = hashlib.sha256(b"".join(part.tobytes() for part in logits)).hexdigest()
    print(info.backend, info.dtype, info.preferred_batch, digest, info.choice, sep="|")
"""


@pytest.fixture
def busy() -> Iterator[None]:
    """A thread that competes for a core in bursts, as a neighbour does."""
    stopped = threading.Event()

    def compete() -> None:
        while not stopped.wait(0.05):
            sum(range(1_000_000))

    thread = threading.Thread(target=compete)
    thread.start()
    yield
    stopped.set()
    thread.join()


@pytest.mark.usefixtures("busy")
def test_twelve_loads_give_one_answer_to_the_bit(tmp_path: Path) -> None:
    assert not NetworkSize.of(LARGE).small
    source = str(write_checkpoint(tmp_path / "v.safetensors", LARGE))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    lines: list[str] = []
    for _ in range(PROCESSES):
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, source, str(LOADS)],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        assert process.returncode == 0, process.stderr
        lines += process.stdout.splitlines()
    assert len(lines) == PROCESSES * LOADS == 12
    assert len(set(lines)) == 1, set(lines)
    assert "the rule for CPUs chose" in lines[0]

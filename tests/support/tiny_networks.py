"""Tiny networks, a fixed GPU and its ceiling, for tests of tuning and of the GPU benchmarks without a GPU."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from tessella.benchmarks.networks import cuda_graphs
from tessella.benchmarks.operators import measure, tuning_jobs
from tessella.benchmarks.roofline import Ceiling
from tessella.kernels.device import Gpu
from tessella.kernels.tuning import tables
from tessella.models.config import TNTConfig, ViTConfig

CPU = torch.device("cpu")
CEILING = Ceiling("a GPU", 1e12, 1e11)
H200 = Gpu("NVIDIA H200", 90, 132)
TINY = ViTConfig(image_size=16, patch_size=8, dim=32, depth=2, heads=2, mlp_dim=64, num_classes=8)
TINY_TNT = TNTConfig(
    image_size=16,
    patch_size=8,
    sub_patch_size=2,
    dim=24,
    depth=2,
    heads=2,
    mlp_dim=32,
    inner_dim=12,
    inner_heads=2,
    inner_mlp_dim=24,
    num_classes=8,
)

Runs = Sequence[Callable[[], object]]


def use_tiny_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `tiny` and `tiny-tnt` the known architectures, and `folder` the place of tuning tables."""
    monkeypatch.setattr(tables, "FOLDER", folder)
    monkeypatch.setattr(tables, "_tables", {})
    for module in (tuning_jobs, measure, cuda_graphs):
        monkeypatch.setattr(module, "config_of", {"tiny": TINY, "tiny-tnt": TINY_TNT}.__getitem__)


def constant_timer(runs: Runs) -> float:
    """Timer of 1 ms for everything."""
    return 1e-3


def failing_timer(runs: Runs) -> float:
    """Timer for runs in which nothing remains to be measured."""
    raise AssertionError("there is nothing left to time")

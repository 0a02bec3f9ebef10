"""Network benchmark of the GPU, without a GPU: kernels in the interpreter beside the published network."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tessella.benchmarks.networks import cuda_graphs

from ...support.tiny_networks import CEILING, CPU, constant_timer, failing_timer, use_tiny_networks


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(tmp_path, monkeypatch)


def test_networks_are_measured_beside_the_published_one(tmp_path: Path) -> None:
    results = tmp_path / "networks.jsonl"
    options: dict[str, Any] = {"architectures": ["tiny"], "batches": [2], "dtype": torch.float32, "results": results}
    providers = ["triton", "eager"]
    rows, remaining = cuda_graphs.measure(CPU, CEILING, providers=providers, timer=constant_timer, **options)
    assert ([row.provider for row in rows], remaining) == (providers, [])
    assert all(row.error < 1e-5 for row in rows)
    assert rows[0].images_per_second == 2000
    assert cuda_graphs.table(rows).row_count == 2
    again, _ = cuda_graphs.measure(CPU, CEILING, providers=providers, timer=failing_timer, **options)
    assert again == rows


def test_an_error_is_reported_and_the_others_are_measured() -> None:
    errors: list[str] = []
    rows, _ = cuda_graphs.measure(
        CPU,
        CEILING,
        architectures=["tiny"],
        batches=[1],
        dtype=torch.float32,
        providers=["steam", "eager"],
        timer=constant_timer,
        on_error=lambda name, error: errors.append(f"{name}: {error!r}"),
    )
    assert errors == ["steam tiny at batch 1: KeyError('steam')"]
    assert [row.provider for row in rows] == ["eager"]

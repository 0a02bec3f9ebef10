"""Launch configurations: the heuristic's fit the GPU, measured ones take precedence."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.tuning import heuristics, tables
from tessella.kernels.tuning.heuristics import LaunchConfig

CUDA = torch.device("cuda")
H200 = Gpu("NVIDIA H200", 90, 132)
GPUS = [Gpu("A100", 80, 108), Gpu("L4", 89, 58), H200, Gpu("B200", 100, 148), Gpu("RTX 5090", 120, 170)]
SHAPES = [
    (197 * batch, columns, depth) for batch in (1, 8, 256) for columns, depth in ((2304, 768), (768, 3072), (10, 64))
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(tables, "_tables", {})
    return tmp_path


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_every_choice_fits_the_gpu(gpu: Gpu, dtype: torch.dtype) -> None:
    with assume_gpu(gpu):
        for rows, columns, depth in SHAPES:
            config = heuristics.linear(rows, columns, depth, dtype, CUDA)
            assert config.shared_memory(dtype.itemsize) <= gpu.shared_memory
            for candidate in heuristics.candidates("linear", gpu, rows, columns, depth):
                assert candidate.shared_memory(itemsize=2) <= gpu.shared_memory
                assert gpu.arch >= 90 or not candidate.pdl


def test_split_k_is_for_few_rows() -> None:
    with assume_gpu(H200):
        assert heuristics.linear(1, 768, 3072, torch.bfloat16, CUDA).split_k > 1
        assert heuristics.linear(50432, 768, 3072, torch.bfloat16, CUDA).split_k == 1


def test_batch_invariance_is_one_configuration_for_all_batches() -> None:
    with assume_gpu(H200):
        configs = {
            heuristics.linear(rows, 768, 3072, torch.bfloat16, CUDA, batch_invariant=True) for rows in (1, 197, 50432)
        }
    assert len(configs) == 1
    assert configs.pop().split_k == 1


def test_a_measured_configuration_is_taken(folder: Path) -> None:
    config = LaunchConfig(64, 128, 32, num_warps=8, num_stages=2, pdl=True)
    table = tables.new_table(H200)
    table.entries[tables.entry_key("linear", 197, 768, 768, torch.bfloat16)] = asdict(config)
    table.save(tables.table_path(H200))
    with assume_gpu(H200):
        assert heuristics.linear(197, 768, 768, torch.bfloat16, CUDA) == config
        assert heuristics.linear(198, 768, 768, torch.bfloat16, CUDA) != config


@pytest.mark.parametrize(("value", "minimum", "power"), [(1, 1, 1), (16, 1, 16), (17, 1, 32), (5, 16, 16)])
def test_next_power_of_two(value: int, minimum: int, power: int) -> None:
    assert heuristics.next_power_of_two(value, minimum) == power

"""Launch configurations of TNT's kernels: the heuristic, precedence of tables, candidates."""

from dataclasses import asdict

import pytest
import torch

from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.tuning import heuristics, tables, tnt_heuristics
from tessella.kernels.tuning.heuristics import LaunchConfig

CUDA = torch.device("cuda")
H200 = Gpu("NVIDIA H200", 90, 132)


def test_large_batches_put_more_patches_into_a_program() -> None:
    with assume_gpu(H200):
        patches = [tnt_heuristics.tnt_inner(count, 24, 16, torch.bfloat16, CUDA).block_m for count in (1, 300, 25088)]
        fixed = {tnt_heuristics.tnt_inner(count, 24, 16, torch.bfloat16, CUDA, True).block_m for count in (1, 25088)}
    assert patches == [1, 2, 4]
    assert fixed == {4}


def test_measured_configurations_are_used_unless_batch_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, project = LaunchConfig(2, 0, num_warps=2, num_stages=1), LaunchConfig(32, 32, 32)
    table = tables.new_table(H200)
    table.entries = {
        tables.entry_key("tnt_inner", 196, 24, 16, torch.bfloat16): asdict(inner),
        tables.entry_key("tnt_project", 196, 384, 384, torch.bfloat16): asdict(project),
    }
    monkeypatch.setattr(tables, "_tables", {H200: table})
    with assume_gpu(H200):
        assert tnt_heuristics.tnt_inner(196, 24, 16, torch.bfloat16, CUDA) == inner
        assert tnt_heuristics.tnt_inner(196, 24, 16, torch.bfloat16, CUDA, batch_invariant=True) != inner
        assert tnt_heuristics.tnt_project(13, 196, 384, 384, torch.bfloat16, CUDA, False) == project
        assert tnt_heuristics.tnt_project(13, 196, 384, 384, torch.bfloat16, CUDA, True) != project


def test_the_grouped_gemm_has_neither_split_k_nor_dependent_launch() -> None:
    for shape in ((197, 768, 768), (6304, 768, 768)):
        assert any(config.pdl for config in heuristics.candidates("linear", H200, *shape))
        configs = tnt_heuristics.candidates("tnt_project", H200, *shape)
        assert {(config.split_k, config.pdl) for config in configs} == {(1, False)}
    with assume_gpu(H200):
        assert heuristics.linear(8, 64, 3072, torch.bfloat16, CUDA).split_k > 1
        assert tnt_heuristics.tnt_project(1, 8, 64, 3072, torch.bfloat16, CUDA, False).split_k == 1


def test_candidates_of_the_inner_blocks() -> None:
    configs = tnt_heuristics.candidates("tnt_inner", H200, 196, 24, 16)
    assert len(set(configs)) == len(configs) > 4
    assert {config.block_m for config in configs} == {1, 2, 4, 8}

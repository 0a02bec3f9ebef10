"""Tuning jobs: every shape once, keys that tables use, and comparisons of each sub-block and of TNT's inner path."""

from pathlib import Path

import pytest
import torch

from tessella.benchmarks.operators import sub_blocks, tuning_jobs
from tessella.models.execution.folded_tnt import ORDER_KEY

from ...support.tiny_networks import CPU, TINY, TINY_TNT, use_tiny_networks


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(tmp_path, monkeypatch)


def test_every_shape_is_a_job_once() -> None:
    jobs = list(tuning_jobs.tuning_jobs(["tiny", "tiny", "tiny-tnt"], [1, 2]))
    keys = [job.key(torch.float16) for job in jobs]
    assert len(keys) == len(set(keys))
    vit = [job for job in jobs if job.config == TINY]
    assert {(job.rows, job.columns, job.depth) for job in vit if job.operator == "linear" and job.batch == 2} == {
        (10, 64, 32),
        (10, 32, 64),
        (10, 96, 32),
        (10, 32, 32),
    }
    assert [job.operator for job in jobs].count("attention") == 2, "attention does not depend on the batch"
    assert {job.operator for job in jobs if job.config == TINY_TNT} == {"tnt_inner", "tnt_project"}


def test_comparisons_are_the_sub_blocks_and_a_tnts_order() -> None:
    composites = [comparison.composite for comparison in tuning_jobs.comparisons(["tiny"], [1])]
    assert composites == list(sub_blocks.COMPOSITES)
    composites = [comparison.composite for comparison in tuning_jobs.comparisons(["tiny-tnt", "tiny-tnt"], [1])]
    assert composites == [*sub_blocks.COMPOSITES, ORDER_KEY]


def test_every_job_runs_and_has_its_expected_result() -> None:
    for job in tuning_jobs.tuning_jobs(["tiny-tnt"], [1]):
        make_run, expected = tuning_jobs.work(job, torch.float32, CPU)
        error = (make_run()().float() - expected).norm() / expected.norm()
        assert error < 1e-4, job

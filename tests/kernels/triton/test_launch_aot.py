"""Launches compiled ahead of time for absent GPUs: registers, spills and shared memory within a committed budget."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from tessella.kernels.device import SHARED_MEMORY, Gpu
from tessella.kernels.tuning import tables
from tessella.kernels.tuning.heuristics import LaunchConfig

ROOT = Path(__file__).parents[3]
BUDGET: dict[str, dict[str, dict[str, list[int]]]] = json.loads((ROOT / "tests/support/aot/budget.json").read_text())
H200 = Gpu("NVIDIA H200", 90, 132)
SPILLS = 64
"""Bytes that a version of triton without a budget may spill beyond those of the nearest version.

Its registers are not limited: versions 3.6, 3.7 and 3.9 differ by up to 120 on one kernel.
"""

WITHOUT_DOT = ("tnt_add_kernel", "layer_norm_kernel", "mean_pool_kernel", "resize_pass_kernel")
"""Kernels that multiply no matrices."""

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest) -> str:
    """Folder of triton's cache: a second run takes seconds."""
    return str(request.config.cache.mkdir("aot")) if request.config.cache else ""


@pytest.fixture(scope="module")
def compiled(cache: str) -> dict[int, Rows]:
    """Launches by the heuristic, by compute capability."""
    rows = defaultdict(list)
    for row in run(cache):
        rows[row["arch"]].append(row)
    return rows


def run(cache: str, *arguments: str) -> Rows:
    """Compile in a separate process: this one runs the interpreter."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.support.aot.budget", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"TRITON_CACHE_DIR": cache},
        timeout=1500,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def budget_of(version: str, arch: int) -> tuple[dict[str, list[int]], bool]:
    """Budget of a version of triton and True, or that of the nearest release and False."""
    major, minor = map(int, version.split(".")[:2])
    releases = {tuple(map(int, name.split("."))): name for name in BUDGET}
    nearest = min(releases, key=lambda release: (abs(release[0] - major), abs(release[1] - minor), -release[1]))
    return BUDGET[releases[nearest]][str(arch)], nearest == (major, minor)


@pytest.mark.aot
@pytest.mark.parametrize("arch", [80, 89, 90, 100, 120])
def test_the_launches_for_a_gpu(compiled: dict[int, Rows], arch: int) -> None:
    rows = compiled[arch]
    entries, own = budget_of(tables.triton_version(), arch)
    assert {row["label"] for row in rows} == set(entries), (
        "`python -m tests.support.aot.budget --write`, and look at the diff"
    )
    for row in rows:
        registers, spills, shared = entries[row["label"]]
        assert row["registers"] <= registers or not own, row
        assert row["spills"] <= spills + (0 if own else SPILLS), row
        assert row["shared"] <= (min(shared, SHARED_MEMORY[arch]) if own else SHARED_MEMORY[arch]), row
        check_precision(row)
        check_instructions(arch, row)
    assert [row["variants"] for row in rows if row["label"].startswith("resize_pass_kernel")] == [1]


def check_precision(row: dict[str, Any]) -> None:
    """Check that nothing runs in TF32, and that only half-precision kernels have matrix instructions."""
    half = "bf16" in row["label"] or "fp16" in row["label"]
    assert row["tf32"] == 0, row
    assert (row["mma"] > 0) == (half and not row["label"].startswith(WITHOUT_DOT)), row


def check_instructions(arch: int, row: dict[str, Any]) -> None:
    """Check that tensor cores, TMA and dependent launch are used where the configuration has them."""
    name = row["label"]
    if name.startswith(("linear_kernel", "tnt_project_kernel")) and "BLOCK_M=128 BLOCK_N=128" in name:
        assert row["wgmma"] > 0 or arch != 90, row
        assert row["tcgen05"] > 0 or arch != 100, row
    if name.startswith(("linear_kernel", "split_k_linear_kernel", "tnt_project_kernel")):
        assert (row["tma"] > 0) == (arch >= 90), row
    assert row["scratch"] == 0, row
    assert (row["griddepcontrol"] > 0) == ("PDL=True" in name), row


@pytest.mark.aot
def test_a_table_of_measured_configurations_compiles_for_its_gpu(tmp_path: Path, cache: str) -> None:
    table = tables.new_table(H200)
    table.entries = {
        tables.entry_key("linear", 6304, 768, 768, torch.bfloat16): asdict(
            LaunchConfig(64, 128, 64, num_warps=4, num_stages=3)
        ),
        tables.entry_key("attention", 197, 64, 0, torch.bfloat16): asdict(
            LaunchConfig(64, 64, num_warps=4, num_stages=2)
        ),
        tables.entry_key("tnt_inner", 1568, 24, 16, torch.bfloat16): asdict(
            LaunchConfig(2, 0, num_warps=4, num_stages=1)
        ),
        tables.entry_key("tnt_project", 1568, 384, 384, torch.bfloat16): asdict(
            LaunchConfig(64, 64, 64, num_warps=4, num_stages=3)
        ),
    }
    table.save(tmp_path / "a.json")
    rows = run(cache, "--table", str(tmp_path / "a.json"))
    assert len(rows) == 4
    assert [row["label"].split()[0] for row in rows] == [
        "blocked_attention_kernel",
        "linear_kernel",
        "tnt_inner_kernel",
        "tnt_project_kernel",
    ]
    for row, shape in zip(rows, ("BLOCK_M=64 BLOCK_N=64", "BLOCK_M=64 BLOCK_N=128", "PATCHES=2", ""), strict=True):
        assert shape in row["label"]
    for path in tables.FOLDER.glob("*.json"):
        rows += run(cache, "--table", str(path))
    for row in rows:
        assert row["shared"] <= SHARED_MEMORY[row["arch"]], row
        assert row["spills"] <= SPILLS, row


def test_no_committed_budget_spills_more_than_eight_registers() -> None:
    assert [(*where, name) for *where, name, entry in all_entries() if entry[1] > 32] == []


def test_the_inner_blocks_of_published_networks_stay_in_registers() -> None:
    inner = [(name, entry) for _, _, name, entry in all_entries() if "tnt_inner" in name]
    assert {"D=16", "D=24", "D=40"} <= {part for name, _ in inner for part in name.split()}
    assert [name for name, (_, spills, _) in inner if spills > 8] == []


def all_entries() -> list[tuple[str, str, str, list[int]]]:
    return [
        (version, arch, name, entry)
        for version, archs in BUDGET.items()
        for arch, entries in archs.items()
        for name, entry in entries.items()
    ]


def test_a_version_without_a_budget_is_held_to_the_nearest() -> None:
    assert budget_of("3.7.1", 90) == (BUDGET["3.7"]["90"], True)
    assert budget_of("3.12.0", 90) == (BUDGET[max(BUDGET, key=lambda name: int(name[2:]))]["90"], False)
    assert budget_of("3.4.0+fork", 90) == (BUDGET[min(BUDGET, key=lambda name: int(name[2:]))]["90"], False)

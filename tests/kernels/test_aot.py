"""Every launch, compiled for GPUs that are not here: registers, spills and shared memory within a committed budget."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tessella.kernels.devices import SHARED_MEMORY

PROGRAM = Path(__file__).with_name("aot.py")
BUDGET: dict[str, dict[str, dict[str, int]]] = json.loads(Path(__file__).with_name("aot_budget.json").read_text())
SLACK = 16
"""Registers that another version of the assembler may give a kernel more."""

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module", params=[80, 89, 90, 100, 120])
def compiled(request: pytest.FixtureRequest) -> tuple[int, Rows]:
    """Compiled in a process of its own: this one interprets."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, PROGRAM, str(request.param)], capture_output=True, text=True, env=environment, timeout=500
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return request.param, [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.aot
def test_the_launches_for_a_gpu(compiled: tuple[int, Rows]) -> None:
    arch, rows = compiled
    _check_budget(arch, rows)
    _check_precision(rows)
    _check_instructions(arch, rows)


def _check_budget(arch: int, rows: Rows) -> None:
    budget = BUDGET[str(arch)]
    assert {row["label"] for row in rows} == set(budget), (
        "run `python tests/kernels/aot.py ARCH --write` and look at the diff"
    )
    for row in rows:
        allowed = budget[row["label"]]
        assert row["registers"] <= allowed["registers"] + SLACK, row
        assert row["spills"] <= allowed["spills"], row
        assert row["shared"] <= min(allowed["shared"], SHARED_MEMORY[arch]), row


def _check_precision(rows: Rows) -> None:
    """float32 is float32: TF32 appears where it was asked for, and no matrix instruction where float32 was."""
    for row in rows:
        assert (row["tf32"] > 0) == ("PRECISION=tf32" in row["label"]), row
        if "PRECISION=ieee" in row["label"] and "bf16" not in row["label"] and "fp16" not in row["label"]:
            assert row["mma"] == 0, row


def _check_instructions(arch: int, rows: Rows) -> None:
    """What a configuration claims is in the code: matrix units, bulk copies, warp specialisation, dependent launch."""
    for row in rows:
        name, large = row["label"], "BLOCK_M=128 BLOCK_N=128" in row["label"]
        if name.startswith("linear_kernel") and large:
            assert row["wgmma"] > 0 or arch != 90, row
            assert row["tcgen05"] > 0 or arch != 100, row
        if name.startswith(("linear_kernel", "split_linear_kernel")):
            assert (row["tma"] > 0) == (arch >= 90), row
            assert (row["scratch"] > 0) == ("WARP_SPECIALIZE" in name), row
        assert (row["setmaxnreg"] > 0) == ("WARP_SPECIALIZE" in name), row
        assert (row["griddepcontrol"] > 0) == ("PDL=True" in name), row


def test_no_committed_budget_spills_more_than_eight_registers() -> None:
    spilling = [name for entries in BUDGET.values() for name, entry in entries.items() if entry["spills"] > 32]
    assert spilling == []

"""The launches that a TNT adds, compiled for GPUs that are not here; as test_aot.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import triton

from tessella.kernels.devices import SHARED_MEMORY

PROGRAM = Path(__file__).with_name("aot_tnt.py")
BUDGET: dict[str, dict[str, dict[str, int]]] = json.loads(Path(__file__).with_name("aot_tnt_budget.json").read_text())
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


@pytest.mark.skipif(not triton.__version__.startswith("3.9"), reason="the budget was recorded with triton 3.9")
@pytest.mark.aot
def test_the_launches_for_a_gpu(compiled: tuple[int, Rows]) -> None:
    arch, rows = compiled
    budget = BUDGET[str(arch)]
    assert {row["label"] for row in rows} == set(budget), (
        "run `python tests/kernels/aot_tnt.py ARCH --write` and look at the diff"
    )
    for row in rows:
        allowed = budget[row["label"]]
        assert row["registers"] <= allowed["registers"] + SLACK, row
        assert row["spills"] <= allowed["spills"], row
        assert row["shared"] <= min(allowed["shared"], SHARED_MEMORY[arch]), row
        half = "(bf16" in row["label"] or "(fp16" in row["label"]
        if row["label"].startswith("tnt_inner_kernel"):
            assert (row["mma"] > 0) == half, row
        assert row["tf32"] == 0, row


def test_the_inner_blocks_of_published_networks_stay_in_registers() -> None:
    inner = [(name, entry) for entries in BUDGET.values() for name, entry in entries.items() if "tnt_inner" in name]
    assert {f"D={dim} " for dim in (16, 24, 40)} <= {part + " " for name, _ in inner for part in name.split()}
    assert [name for name, entry in inner if entry["spills"]] == []

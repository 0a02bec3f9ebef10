"""Operator benchmark without a GPU: rows are resumed, wrong results are not timed, and macs are those of the paper."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tessella.benchmarks.operators import measure, operators, sub_blocks

from ...support.tiny_networks import CEILING, CPU, TINY, constant_timer, failing_timer, use_tiny_networks


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(tmp_path, monkeypatch)


def test_rows_are_saved_one_by_one_and_not_measured_twice(tmp_path: Path) -> None:
    results = tmp_path / "kernels.jsonl"
    options: dict[str, Any] = {"architectures": ["tiny"], "batches": [2], "dtype": torch.float32, "results": results}
    rows, remaining = measure.measure(CPU, CEILING, providers=["triton", "torch"], timer=constant_timer, **options)
    assert (len(rows), remaining) == (2 * (2 + 9), [])
    assert all(row.error < 1e-5 for row in rows[:-1])
    triton, pytorch = rows[-2:]
    assert (triton.operator, triton.error) == ("resize_crop", 0)
    assert 0 < pytorch.error < 1e-2
    again, _ = measure.measure(CPU, CEILING, providers=["triton", "torch"], timer=failing_timer, **options)
    assert again == rows
    assert measure.table(rows).row_count == len(rows)


def test_a_tnt_adds_its_own_operators() -> None:
    rows, remaining = measure.measure(
        CPU,
        CEILING,
        architectures=["tiny-tnt"],
        batches=[1],
        dtype=torch.float32,
        providers=["triton", "torch"],
        timer=constant_timer,
    )
    assert ([row.operator for row in rows[::2]], remaining) == (list(operators.TNT_ONLY), [])
    assert all(row.error < 1e-5 for row in rows)
    inner = rows[2]
    assert inner.tflops == pytest.approx(2 * 4 * 16 * 12 * (4 * 12 + 2 * 24 + 2 * 16) * 2 / 1e-3 / 1e12)


def test_a_wrong_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sub_blocks.SubBlock, "triton", lambda block: lambda: block.torch()() * 1.01)
    with pytest.raises(measure.ResultMismatch, match="triton fused_qkv_attention of tiny at batch 2: relative error"):
        measure.measure(CPU, CEILING, architectures=["tiny"], batches=[2], dtype=torch.float32, timer=failing_timer)


def test_without_budget_every_operator_remains() -> None:
    rows, remaining = measure.measure(CPU, CEILING, architectures=["tiny"], batches=[1], budget=-1, timer=failing_timer)
    assert rows == []
    assert [name.split()[0] for name in remaining] == list(measure.operators_of(TINY))

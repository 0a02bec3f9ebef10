"""Plots of documents: errors, panels and labels. Real documents are drawn by the tests that measure them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessella.benchmarks.plots import PlotUnavailable, draw_kernels, draw_models, draw_service

Draw = Callable[[dict[str, Any], Path], None]
EMPTY: dict[str, Any] = {
    "rows": [],
    "device": "a CPU",
    "threads": 2,
    "date": "2026-01-02T03:04:05",
    "parameters": {"architecture": "vit_a"},
}
every_plot = pytest.mark.parametrize("draw", [draw_kernels, draw_models, draw_service])


@every_plot
def test_without_matplotlib_the_extra_is_named(draw: Draw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotUnavailable, match=r"no plot: matplotlib .* pip install 'tessella\[bench\]'"):
        draw(EMPTY, tmp_path / "none.png")


@every_plot
def test_a_document_without_rows_is_refused(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to plot"):
        draw(EMPTY, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_operators_are_drawn_at_the_smallest_and_the_largest_batch(tmp_path: Path) -> None:
    common = {"architecture": "vit_a", "operator": "linear", "provider": "torch", "roofline": 0.5}
    rows = [common | {"batch": batch} for batch in (8, 1, 64)]
    draw_kernels(EMPTY | {"rows": rows}, tmp_path / "new" / "kernels.svg")
    text = (tmp_path / "new" / "kernels.svg").read_text()
    assert [f"vit_a at batch {batch}:" in text for batch in (1, 8, 64)] == [True, False, True]


def test_models_are_drawn_relative_to_timms_fastest(tmp_path: Path) -> None:
    row = {"architecture": "vit_a", "batch_size": 4, "candidate": "tessella folded", "ratio": 1.5}
    draw_models(EMPTY | {"rows": [row | {"images_per_second": 12.34}]}, tmp_path / "models.svg")
    text = (tmp_path / "models.svg").read_text()
    assert all(part in text for part in ("vit_a, batch 4", "tessella folded", "12.3/s", "a CPU, 2 threads"))

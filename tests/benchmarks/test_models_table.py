"""The README's table of what CPUs do."""

import json
from pathlib import Path
from typing import Any

import pytest

import tessella
from tessella.benchmarks.models_table import PART, documents, render
from tessella.models.documents import replace_part

README = Path(tessella.__file__).parent / "README.md"


def row(candidate: str, size: int, rate: float, ratio: float) -> dict[str, Any]:
    common = {"spread": 0.04, "of_matrix_rate": 0.5, "images_per_second": rate, "ratio": ratio}
    return {"architecture": "vit_a", "candidate": candidate, "batch_size": size} | common


DOCUMENT = {
    "on": "cpu",
    "device": "a CPU",
    "threads": 2,
    "torch": "2.9",
    "versions": {"timm": "1.0"},
    "date": "2026-01-02T03:04:05",
    "rows": [
        row("timm eager float32", 1, 10, 1),
        row("tessella folded float32", 1, 9, 0.9),
        row("tessella openvino float32", 1, 12, 1.2),
        row("timm eager float32", 8, 20, 1),
        row("tessella folded float32", 8, 23, 1.15),
        row("tessella openvino float32", 8, 22, 1.1),
    ],
}


def test_the_readme_is_current() -> None:
    if not README.exists():
        pytest.skip("a wheel has no README")
    text = README.read_text("utf-8")
    assert replace_part(text, PART, render(documents())) == text, "run `make readme`"


def test_every_candidate_has_a_line_and_the_fastest_of_ours_is_compared() -> None:
    lines = render([DOCUMENT]).splitlines()
    assert lines[0] == (
        "a CPU, 2 threads, torch 2.9, timm 1.0, 2026-01-02. "
        "Medians of rounds in turns, half the distance between quartiles at most 4%."
    )
    assert lines[2:] == [
        "| images/s at batch 1 / 8 | `vit_a` |",
        "|---|---|",
        "| timm, eager, float32 | 10.0 / 20.0 |",
        "| tessella, folded, float32 | 9.0 / 23.0 |",
        "| tessella, openvino, float32 | 12.0 / 22.0 |",
        "| **tessella's fastest ÷ timm's fastest** | **1.20** / **1.15** |",
        "| its part of the matrix rate | 50% / 50% |",
    ]


def test_documents_of_gpus_are_left_out(tmp_path: Path) -> None:
    for name, place in (("one", "cpu"), ("two", "cuda")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "models.json").write_text(json.dumps(DOCUMENT | {"on": place}))
    assert [document["on"] for document in documents(tmp_path)] == ["cpu"]
    assert "No machine has been measured" in render(documents(tmp_path / "nothing"))

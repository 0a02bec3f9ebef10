"""Tables of the documentation: current, complete, and put between their markers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tessella.server.settings import Settings

from .support.published_families import FAMILIES
from .support.readme_tables import cpu_measurements, cpu_tables, replace_part, settings_table, tables


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


CASES = [(page, name, table) for page, parts in tables().items() for name, table in parts.items()]


@pytest.mark.parametrize(("page", "name", "table"), CASES, ids=[f"{page.name}: {name}" for page, name, _ in CASES])
def test_a_table_of_a_page_is_current(page: Path, name: str, table: str) -> None:
    text = page.read_text("utf-8")
    assert replace_part(text, name, table) == text, "run `make readme`"


def test_the_rest_of_the_document_stays() -> None:
    old = "# tessella\n<!-- a -->\nan old table\n<!-- /a -->\nmore\n"
    assert replace_part(old, "a", "new") == "# tessella\n<!-- a -->\nnew\n<!-- /a -->\nmore\n"


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="has no lines <!-- families -->"):
        replace_part("# tessella\n<!-- /families -->", "families", "")


def test_at_least_twenty_variants_are_held_against_their_reference() -> None:
    names = [name for family in FAMILIES for name in family.architectures]
    assert len(names) == len(set(names)) >= 20


def test_every_setting_has_a_row_with_its_default_and_choices() -> None:
    rows = settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [f"TESSELLA_{name.upper()}" for name in Settings.model_fields]
    assert all(row.count(" | ") == 2 and len(row.split(" | ")[2]) > 5 for row in rows)
    by_name = {row.split("`")[1]: row for row in rows}
    assert "| `digits-vit,digits-tnt` |" in by_name["TESSELLA_MODEL"]
    assert "| `60000` |" in by_name["TESSELLA_TIMEOUT_MS"]
    assert "text, json" in by_name["TESSELLA_LOG_FORMAT"]
    assert "|  |" in by_name["TESSELLA_API_KEY"]


def test_every_candidate_has_a_line_and_the_fastest_of_ours_is_compared() -> None:
    lines = cpu_tables([DOCUMENT]).splitlines()
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
    assert [document["on"] for document in cpu_measurements(tmp_path)] == ["cpu"]
    assert "No machine has been measured" in cpu_tables(cpu_measurements(tmp_path / "nothing"))

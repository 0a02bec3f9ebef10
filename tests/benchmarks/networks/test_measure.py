"""Network benchmark on one small network: the document is complete, and wrong logits are not timed."""

import json
from pathlib import Path

import pytest
import torch

from tessella.benchmarks.networks.measure import LogitsMismatch, compare, measure, table
from tessella.benchmarks.plots import draw_models
from tessella.benchmarks.report import write


def test_the_document_holds_every_candidate_at_every_batch_size(tmp_path: Path) -> None:
    fractions: list[float] = []
    document = measure(
        ["deit_tiny_patch16_224"],
        [1, 2],
        dtypes=["float32"],
        seconds=0,
        engines=["folded"],
        progress=lambda _, part: fractions.append(part),
    )
    write(document, tmp_path / "folder" / "models.json")
    rows = json.loads((tmp_path / "folder" / "models.json").read_text())["rows"]
    assert {(row["batch_size"], row["candidate"]) for row in rows} == {
        (batch_size, candidate)
        for batch_size in (1, 2)
        for candidate in ("timm eager float32", "tessella folded float32")
    }
    for row in rows:
        assert row["images_per_second"] == pytest.approx(row["batch_size"] / row["milliseconds"] * 1e3)
        assert row["ratio"] == pytest.approx(1) or row["candidate"] != "timm eager float32"
        assert row["of_matrix_rate"] > 0
    assert {"date", "commit", "device", "threads", "torch"} <= set(document)
    assert set(document["matrix_rates"]) == {"float32"}
    assert {"timm", "onnxruntime", "openvino"} <= set(document["versions"])
    assert fractions == [0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert table(document).row_count == 4
    draw_models(document, tmp_path / "models.png")
    assert (tmp_path / "models.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_logits_are_not_timed() -> None:
    pixels = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    right = torch.tensor([[1.0, 2.0]])
    close = compare({"timm eager float32": lambda _: right, "tessella eager float32": lambda _: right + 5e-5}, pixels)
    assert close["tessella eager float32"] > 0
    with pytest.raises(LogitsMismatch, match=r"tessella eager float32.*differ"):
        compare({"timm eager float32": lambda _: right, "tessella eager float32": lambda _: right + 5e-4}, pixels)
    with pytest.raises(LogitsMismatch, match="bfloat16"):
        compare({"timm eager float32": lambda _: right, "tessella eager bfloat16": lambda _: right * torch.nan}, pixels)


def test_an_unknown_architecture_or_engine_is_named() -> None:
    with pytest.raises(ValueError, match="'resnet50'"):
        measure(["resnet50"], [1], engines=["eager"])
    with pytest.raises(ValueError, match="'steam' is not one of eager, compiled"):
        measure(["vit_tiny_patch16_224"], [1], engines=["steam"])

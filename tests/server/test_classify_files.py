"""Classification of files: one JSON object per file, in order, with errors of single files."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tessella.server.classify_files import classify_files
from tessella.server.engine.engine import AsyncEngine

from ..support import pictures
from ..support.gated_runner import SIDE, GatedRunner

OPTIONS: dict[str, Any] = {"device": "cpu", "backend": "torch", "dtype": "float32"}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Options of each load; the model is a gated runner."""
    calls: list[dict[str, Any]] = []

    async def load(source: str, **options: Any) -> AsyncEngine:
        calls.append({"source": source, **options})
        return AsyncEngine(GatedRunner().worker(4), name=source, max_queue=options["max_queue"])

    monkeypatch.setattr(AsyncEngine, "load", load)
    return calls


def test_results_are_in_order_with_errors_in_place(tmp_path: Path, loads: list[dict[str, Any]]) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.txt", "c.png")]
    for path, content in zip(paths, (red(9), b"no image", red(7)), strict=True):
        path.write_bytes(content)
    first, second, third = classify_files(paths, "cats", 2, image_size=64, **OPTIONS)
    assert [document["file"] for document in (first, second, third)] == [str(path) for path in paths]
    assert first["predictions"][0].keys() == {"label", "index", "score"}
    assert [prediction["index"] for prediction in (first["predictions"][0], third["predictions"][0])] == [9, 7]
    assert len(first["predictions"]) == 2
    assert second["error_type"] == "invalid_image"
    assert "predictions" not in second
    (call,) = loads
    assert call["source"] == "cats"
    assert call | OPTIONS | {"image_size": 64, "max_queue": 3} == call


def test_missing_file_is_an_error_before_the_model_loads(tmp_path: Path, loads: list[dict[str, Any]]) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        classify_files([tmp_path / "missing.png"], "cats", 1, **OPTIONS)
    assert not loads


def red(value: int) -> bytes:
    return pictures.encode(Image.new("RGB", (SIDE, SIDE), (value, 0, 0)))

"""timm model of the peers: options, the response format, and predictions on a small random checkpoint."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from tessella.benchmarks import timm_import  # noqa: F401
from tessella.benchmarks.photos import Photo
from tessella.benchmarks.service.load_generator import top_prediction
from tessella.benchmarks.service.peers.timm_model import TOP_K, Options, TimmModel, response
from tessella.benchmarks.service.random_checkpoint import save_random_checkpoint


def picture(*colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (240, 240), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def test_options_are_those_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["peer", "--folder", "a", "--port", "1", "--threads", "2", "--dtype", "float16"])
    assert Options.parse() == Options(Path("a"), 1, 2, 32, "cpu", "float16")


def test_the_response_is_read_by_the_load_generator() -> None:
    document = response([{"index": 3, "score": 0.5}], decode=1.0, total=2.0)
    assert top_prediction(document) == (3, 0.5)
    assert document["timings_ms"] == {"decode": 1.0, "total": 2.0}


def test_predictions_are_the_top_classes_in_order(tmp_path: Path) -> None:
    photos = [Photo("a", picture(250, 10, 10)), Photo("b", picture(10, 10, 250))]
    folder = save_random_checkpoint("vit_tiny_patch16_224", tmp_path / "m", photos, depth=1)
    model = TimmModel(Options(folder, 0, 1, 32, "cpu", "float32"))
    image = model.decode(photos[0].data)
    assert image.shape == (3, 224, 224)
    (predictions,) = model.predict(image[None])
    scores = [prediction["score"] for prediction in predictions]
    assert len(predictions) == TOP_K
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) < 1, "probabilities"

"""Random checkpoint: files that timm and tessella load, and a network that tells photographs apart."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tessella.benchmarks.photos import Photo
from tessella.benchmarks.service.random_checkpoint import save_random_checkpoint
from tessella.models.registry import load_model


def photo(seed: int) -> Photo:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((224, 224)).save(buffer, "PNG")
    return Photo(str(seed), buffer.getvalue())


def test_photographs_get_different_classes(tmp_path: Path) -> None:
    photos = [photo(seed) for seed in range(4)]
    folder = save_random_checkpoint("vit_tiny_patch16_224", tmp_path / "new", photos, depth=1)
    config = json.loads((folder / "config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == ("vit_tiny_patch16_224", 1000)
    assert {"mean", "std", "input_size"} <= set(config["pretrained_cfg"])
    classifier = load_model(f"m={folder}", device="cpu", dtype="float32", backend="torch")
    pixels = np.stack([classifier.preprocessing(Image.open(io.BytesIO(photo.data))) for photo in photos])
    logits = classifier.logits(pixels)
    assert len(set(logits.argmax(-1).tolist())) > 1
    assert 2 < float(logits.std()) < 4, "LOGIT_SPREAD"


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown architecture 'vit_nano'"):
        save_random_checkpoint("vit_nano", tmp_path, [])

"""Classification accuracy of a running service on held-out digits, compared with the recorded one."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps

import tessella
from tessella.models.zoo.training.dataset import Digits, load_split, picture, png

from ...support import pictures

ZOO = Path(tessella.__file__).parent / "models" / "zoo"


@pytest.fixture(scope="module")
def held_out() -> Digits:
    return load_split().test


def read(service: str, model: str, images: list[bytes]) -> list[int]:
    """Most likely digit of each image, in requests of 60 images."""
    digits: list[int] = []
    for start in range(0, len(images), 60):
        parts = [("image", image) for image in images[start : start + 60]]
        answer = httpx.post(f"{service}/classify", params={"model": model, "top_k": 1}, files=parts, timeout=60).json()
        digits += [result["predictions"][0]["index"] for result in answer["results"]]
    return digits


@pytest.mark.parametrize("model", ["digits-vit", "digits-tnt"])
def test_served_accuracy_matches_the_record(service: str, held_out: Digits, model: str) -> None:
    record = json.loads((ZOO / f"{model}.json").read_text())
    digits = read(service, model, [png(image) for image in held_out.images])
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (held_out.labels, np.array(digits)), 1)
    assert np.abs(confusion - record["test_confusion"]).sum() <= 4  # two ties may differ on another CPU
    assert record["test_accuracy_mean"] >= 0.98


@pytest.mark.parametrize("model", ["digits-vit", "digits-tnt"])
def test_accuracy_on_inverted_digits(service: str, held_out: Digits, model: str) -> None:
    images = [pictures.encode(ImageOps.invert(picture(image))) for image in held_out.images]
    assert np.mean(np.array(read(service, model, images)) == held_out.labels) > 0.96


@pytest.mark.parametrize("model", ["digits-vit", "digits-tnt"])
def test_accuracy_on_enlarged_jpegs(service: str, held_out: Digits, model: str) -> None:
    def enlarge(image: Image.Image) -> bytes:
        return pictures.encode(image.resize((280, 280), Image.Resampling.BICUBIC), "JPEG", quality=80)

    images = [enlarge(picture(image)) for image in held_out.images]
    assert np.mean(np.array(read(service, model, images)) == held_out.labels) > 0.96

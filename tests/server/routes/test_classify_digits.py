"""The main job: held-out digits, posted as PNG files to a running service, are read as well as is recorded."""

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
    """The most likely digit of each image; 60 images a request."""
    found: list[int] = []
    for start in range(0, len(images), 60):
        parts = [("image", image) for image in images[start : start + 60]]
        answer = httpx.post(f"{service}/classify", params={"model": model, "top_k": 1}, files=parts, timeout=60).json()
        found += [result["predictions"][0]["index"] for result in answer["results"]]
    return found


@pytest.mark.parametrize("model", ["digits-vit", "digits-tnt"])
def test_the_served_accuracy_is_the_recorded_one(service: str, held_out: Digits, model: str) -> None:
    record = json.loads((ZOO / f"{model}.json").read_text())
    found = read(service, model, [png(image) for image in held_out.images])
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (held_out.labels, np.array(found)), 1)
    assert np.abs(confusion - record["test_confusion"]).sum() <= 4  # two ties may fall otherwise on another CPU
    assert record["test_accuracy_mean"] >= 0.98


@pytest.mark.parametrize("model", ["digits-vit", "digits-tnt"])
def test_dark_ink_on_light_paper_is_read_as_well(service: str, held_out: Digits, model: str) -> None:
    images = [pictures.encode(ImageOps.invert(picture(image))) for image in held_out.images]
    assert np.mean(np.array(read(service, model, images)) == held_out.labels) > 0.96


@pytest.mark.parametrize("model", ["digits-vit", "digits-tnt"])
def test_large_jpegs_are_read_as_well(service: str, held_out: Digits, model: str) -> None:
    def enlarge(image: Image.Image) -> bytes:
        return pictures.encode(image.resize((280, 280), Image.Resampling.BICUBIC), "JPEG", quality=80)

    images = [enlarge(picture(image)) for image in held_out.images]
    assert np.mean(np.array(read(service, model, images)) == held_out.labels) > 0.96

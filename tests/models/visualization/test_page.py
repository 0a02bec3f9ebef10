"""Pictures are files of the right kind that say what they show, and the numbers are the explanation's."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tessella.models.visualization.figure import check_suffix
from tessella.models.visualization.page import METHODS, draw
from tessella.models.visualization.rows import strongest
from tessella.models.visualization.subject import Subject, View
from tessella.models.visualization.values import numbers


@pytest.fixture(scope="module")
def views() -> list[View]:
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    return [View.of(Subject.load(name), "noise.png", image) for name in ("digits-vit", "digits-tnt")]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_draws_both_families(views: list[View], method: str, tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    draw(views, method, None, file)
    words = " ".join(text for text in ElementTree.parse(file).getroot().itertext())
    assert "digits-vit: noise.png" in words
    assert "digits-tnt: noise.png" in words
    expected = {
        "sheet": "mean attention distance (px)",
        "attention": "attention of words",
        "rollout": "layers 1 to 4",
        "distance": "ResNet-50",
        "features": "channel",
        "patches": "words of 2 px",
    }
    assert expected[method] in words


def test_a_png_is_a_picture_of_its_own_and_the_same_every_time(views: list[View], tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for file in (first, second):
        draw(views[:1], "patches", None, file)
    with Image.open(first) as picture:
        assert picture.width == 1200
        assert len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 50
    assert first.read_bytes() == second.read_bytes()


def test_one_layer_shows_every_head(views: list[View], tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    draw(views[:1], "attention", 2, file)
    text = file.read_text()
    assert "layer 2, head 3" in text
    assert "layer 1" not in text
    with pytest.raises(ValueError, match="digits-vit has layers 1 to 4, not 5"):
        draw(views, "attention", 5, file)


def test_the_numbers_are_those_that_are_drawn(views: list[View]) -> None:
    vit, tnt = views
    document = numbers(vit, "sheet", None)
    assert set(document) >= {"attention", "rollout", "distance"}
    assert np.allclose(document["attention"]["values"], vit.explanation.attention, atol=1e-6)
    assert np.allclose(document["rollout"]["values"], vit.explanation.rollout, atol=1e-6)
    assert np.array(document["distance"]["mean_px"]).shape == (4, 3)
    assert document["distance"]["resnet50_receptive_field_px"] == [19, 27, 35, 43]
    assert "words" not in document["attention"]
    one = numbers(tnt, "attention", 2)["attention"]
    assert one["layers"] == [2]
    assert np.array(one["words"]).shape == (1, 2, 12, 12)
    features = numbers(tnt, "features", 4)["features"]
    assert np.array(features["words"][0]["values"]).shape == (6, 12, 12)


def test_channels_that_vary_most_come_first() -> None:
    maps = np.stack([np.full((2, 2), 9.0), np.eye(2), 3 * np.eye(2)]).astype(np.float32)
    assert strongest(maps, 2) == [2, 1]


def test_random_weights_are_asked_for_and_named() -> None:
    subject = Subject.load("vit_tiny_patch16_224", random_weights=True)
    assert subject.name == "vit_tiny_patch16_224, random weights"
    assert (subject.preprocessing.size, subject.network.config.depth) == (224, 12)
    again = Subject.load("vit_tiny_patch16_224", random_weights=True)
    assert all(
        (one == other).all() for one, other in zip(*(s.network.parameters() for s in (subject, again)), strict=True)
    )
    with pytest.raises(LookupError, match="is an architecture, not a checkpoint"):
        Subject.load("vit_tiny_patch16_224")
    with pytest.raises(ValueError, match="'resnet50' is no architecture"):
        Subject.load("resnet50", random_weights=True)


def test_other_suffixes_are_refused_with_those_that_work() -> None:
    with pytest.raises(ValueError, match=r"a\.bmp: pictures are written as \.png, \.svg, \.pdf"):
        check_suffix(Path("a.bmp"))

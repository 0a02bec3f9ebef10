"""Pages: every method draws both families, in the format of the suffix, reproducibly."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tessella.models.visualization.page import METHODS, draw

from ...support.views import noise_views


@pytest.mark.parametrize("method", METHODS)
def test_each_method_draws_both_families(method: str, tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    draw(noise_views(), method, None, file)
    content = " ".join(text for text in ElementTree.parse(file).getroot().itertext())
    assert "digits-vit: noise.png" in content
    assert "digits-tnt: noise.png" in content
    expected = {
        "sheet": "mean attention distance (px)",
        "attention": "attention of inner tokens",
        "rollout": "layers 1 to 4",
        "distance": "ResNet-50",
        "features": "channel",
        "patches": "sub-patches of 2 px",
    }
    assert expected[method] in content


def test_a_png_is_reproducible(tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for file in (first, second):
        draw(noise_views()[:1], "patches", None, file)
    with Image.open(first) as picture:
        assert picture.width == 1200
        assert len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 50
    assert first.read_bytes() == second.read_bytes()


def test_one_layer_shows_every_head(tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    draw(noise_views()[:1], "attention", 2, file)
    text = file.read_text()
    assert "layer 2, head 3" in text
    assert "layer 1" not in text
    with pytest.raises(ValueError, match="digits-vit has layers 1 to 4, not 5"):
        draw(noise_views(), "attention", 5, file)

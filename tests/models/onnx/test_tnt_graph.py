"""Written graphs of TNTs: both forms of the embedding and of the projection, opsets and dtypes."""

from dataclasses import replace
from pathlib import Path

import pytest

from tessella.models.config import TNTConfig

from ...support.exports import TNT
from ...support.onnx_graphs import written_operators

CONFIGS = {
    "published": replace(TNT, depth=2),
    "unfolded patches": replace(TNT, sub_patch_embedding="linear"),
    "legacy": replace(TNT, sub_patch_embedding="image_convolution", normalise_projection=False, depth=2),
    "no positions, biases": replace(TNT, inner_position=False, outer_position=False, qkv_bias=True),
}


@pytest.mark.parametrize("form", ["folded", "plain"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_graph_computes_the_networks_logits(config: TNTConfig, form: str, tmp_path: Path) -> None:
    written_operators(config, tmp_path, form=form)


@pytest.mark.parametrize("name", ["published", "legacy"])
def test_float16_stays_close(name: str, tmp_path: Path) -> None:
    written_operators(CONFIGS[name], tmp_path, dtype="float16", opset=23, tolerance=2e-2)


def test_inner_tokens_are_embedded_once(tmp_path: Path) -> None:
    """In isolated patches by one product, across patches by one convolution; heads are absorbed."""
    published = written_operators(CONFIGS["published"], tmp_path)
    assert "Conv" not in published
    assert written_operators(CONFIGS["legacy"], tmp_path).count("Conv") == 1
    assert published.count("Softmax") == 2 + 2, "inner and outer attention, one each a block"

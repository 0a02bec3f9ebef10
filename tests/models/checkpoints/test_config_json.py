"""Checkpoint configs: settings read from Hugging Face's and timm's `config.json`, and unsupported ones rejected."""

from typing import Any

import pytest

from tessella.models.checkpoints.config_json import CheckpointConfig, read_checkpoint_config
from tessella.models.errors import CheckpointError
from tessella.models.variants import VARIANTS


def test_hugging_face_settings() -> None:
    document = {
        "model_type": "vit",
        "hidden_size": 192,
        "num_hidden_layers": 12,
        "num_attention_heads": 3,
        "layer_norm_eps": 1e-12,
        "hidden_act": "quick_gelu",
        "image_size": 384,
    }
    assert read_checkpoint_config(document) == CheckpointConfig(
        origin="config.json",
        heads=3,
        norm_eps=1e-12,
        feedforward="quick_gelu",
        image_size=384,
        expected={"dim": 192, "depth": 12},
    )


def test_timm_settings_are_those_of_the_architecture_with_its_model_args() -> None:
    config = read_checkpoint_config(
        {
            "architecture": "vit_base_patch16_clip_224",
            "global_pool": "avg",
            "model_args": {"num_heads": 6, "act_layer": "quick_gelu"},
        }
    )
    assert config.architecture == VARIANTS["vit_base_patch16_clip_224"]
    assert (config.heads, config.norm_eps, config.feedforward, config.pooling) == (6, 1e-5, "quick_gelu", "mean")
    assert config.expected == {"dim": 768}
    narrower = {"architecture": "vit_base_patch16_224", "model_args": {"embed_dim": 96}}
    assert read_checkpoint_config(narrower).expected == {}


def test_timm_image_size_is_that_of_the_network() -> None:
    def config(**arguments: Any) -> CheckpointConfig:
        return read_checkpoint_config({"architecture": "vit_tiny_patch16_224", "model_args": arguments})

    assert (config(img_size=384).image_size, config(img_size=[384, 384]).image_size, config().image_size) == (
        384,
        384,
        None,
    )
    assert config(dynamic_img_size=True).any_image_size
    assert config(global_pool="avg").pooling == "mean"


def test_an_architecture_overrides_the_document() -> None:
    assert read_checkpoint_config({"model_type": "resnet"}, "vit_tiny_patch16_224").heads == 3


def test_a_document_without_settings_gives_none() -> None:
    assert read_checkpoint_config(None) == CheckpointConfig()
    config = read_checkpoint_config({"labels": []})
    assert (config.heads, config.architecture) == (None, None)
    assert "neither `model_type` nor `architecture`" in config.origin


def test_an_unknown_architecture_is_rejected_with_similar_names() -> None:
    with pytest.raises(ValueError, match=r"vit_tiny_patch16_225.*similar names: .*vit_tiny_patch16_224"):
        read_checkpoint_config(None, "vit_tiny_patch16_225")


def test_a_pretraining_tag_is_part_of_timms_names() -> None:
    assert read_checkpoint_config(None, "vit_tiny_patch16_224.augreg_in21k_ft_in1k").heads == 3


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"model_type": "resnet"}, r"model_type 'resnet'; supported: vit, deit"),
        ({"model_type": "vit", "hidden_act": "relu"}, r"hidden_act 'relu'; supported: gelu, quick_gelu"),
        ({"architecture": "resnet50"}, r"'resnet50' is not a known architecture"),
        ({"architecture": "vit_tiny_patch16_224", "global_pool": "map"}, r"global_pool 'map'; supported: token, avg"),
        (
            {"architecture": "vit_tiny_patch16_224", "model_args": {"norm_layer": "rmsnorm"}},
            r"not supported: norm_layer",
        ),
        (
            {"architecture": "vit_tiny_patch16_224", "model_args": {"img_size": [224, 448]}},
            r"img_size \[224, 448\]; expected one number of pixels, or two equal ones",
        ),
    ],
)
def test_unsupported_settings_are_rejected(document: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint_config(document)

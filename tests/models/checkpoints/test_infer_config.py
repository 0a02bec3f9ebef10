"""The configuration is read from shapes: for every known architecture, and nothing is guessed in silence."""

import dataclasses
from typing import Any

import pytest

from tessella.benchmarks import timm_import  # noqa: F401
from tessella.models.checkpoints.config_json import CheckpointConfig, read_checkpoint_config
from tessella.models.checkpoints.infer_config import Shape, infer
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.costs import parameters
from tessella.models.errors import CheckpointError
from tessella.models.variants import VARIANTS


def shapes(name: str, **arguments: Any) -> dict[str, Shape]:
    """Of timm's network, which is made without memory."""
    import timm

    network = timm.create_model(name, device="meta", depth=1, **arguments)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_timms_shapes_are_those_of_the_table(name: str) -> None:
    found = shapes(name, num_classes=VARIANTS[name].num_classes)
    config = infer(found, read_checkpoint_config(None, name)).config
    assert config == dataclasses.replace(VARIANTS[name], depth=1)
    count = sum(_numbers(shape) for shape in found.values())
    assert parameters(config) == count


def _numbers(shape: Shape) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


@pytest.mark.parametrize("name", VARIANTS)
def test_heads_epsilon_and_activation_are_timms(name: str) -> None:
    import timm

    block = timm.create_model(name, device="meta", depth=1).blocks[0]
    config = VARIANTS[name]
    if isinstance(config, TNTConfig):
        assert (block.attn_in.num_heads, block.attn_out.num_heads) == (config.inner_heads, config.heads)
        assert block.norm_in.eps == config.norm_eps
    else:
        activations = {"GELU": "gelu", "QuickGELU": "quick_gelu", "SiLU": "swiglu"}
        assert (block.attn.num_heads, block.norm1.eps) == (config.heads, config.norm_eps)
        assert activations[type(block.mlp.act).__name__] == config.feedforward


def test_what_shapes_do_not_show_is_concluded_aloud_where_all_known_architectures_agree() -> None:
    inferred = infer(shapes("vit_tiny_patch16_224"), CheckpointConfig())
    assert isinstance(inferred.config, ViTConfig)
    assert (inferred.config.heads, inferred.config.norm_eps, inferred.config.feedforward) == (3, 1e-6, "gelu")
    assert any("number of heads 3" in sentence for sentence in inferred.conclusions)


def test_what_known_architectures_differ_in_is_asked_for() -> None:
    with pytest.raises(CheckpointError, match=r"activation does not show.*quick_gelu in .*`architecture=`"):
        infer(shapes("vit_base_patch16_clip_224"), CheckpointConfig())
    with pytest.raises(CheckpointError, match=r"number of heads does not show.*16 in .*12 in "):
        infer(shapes("vit_base_patch16_gap_224"), CheckpointConfig())


def test_a_form_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(CheckpointError, match=r"no known architecture is alike; name the timm architecture"):
        infer(shapes("vit_tiny_patch16_224", embed_dim=96, num_heads=4), CheckpointConfig())


def test_an_architecture_of_another_width_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'vit_base_patch16_224' says dim 768, the tensors have 192"):
        infer(shapes("vit_tiny_patch16_224"), read_checkpoint_config(None, "vit_base_patch16_224"))


def test_an_unknown_architecture_is_refused_with_names_near_it() -> None:
    with pytest.raises(ValueError, match=r"vit_tiny_patch16_225.*near it are .*vit_tiny_patch16_224"):
        read_checkpoint_config(None, "vit_tiny_patch16_225")


def test_a_pretraining_tag_is_part_of_timms_names() -> None:
    assert read_checkpoint_config(None, "vit_tiny_patch16_224.augreg_in21k_ft_in1k").heads == 3


def test_a_sidecar_that_contradicts_the_tensors_is_refused() -> None:
    document = {"model_type": "vit", "hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3}
    with pytest.raises(CheckpointError, match=r"config\.json says depth 12, the tensors have 1"):
        infer(shapes("vit_tiny_patch16_224"), read_checkpoint_config(document))


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"model_type": "resnet"}, r"describes a 'resnet' model; served are vit, deit"),
        ({"model_type": "vit", "hidden_act": "relu"}, r"hidden_act 'relu'; served are gelu, quick_gelu"),
        ({"architecture": "resnet50"}, r"'resnet50' is not an architecture known here"),
        ({"architecture": "vit_tiny_patch16_224", "global_pool": "map"}, r"global_pool 'map'; served are token, avg"),
        ({"architecture": "vit_tiny_patch16_224", "model_args": {"norm_layer": "rmsnorm"}}, r"by norm_layer"),
    ],
)
def test_a_sidecar_of_something_else_is_refused(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        read_checkpoint_config(document)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"patch_embed.proj.weight": (192, 1, 16, 16)}, r"16×16 pixels of 1 channels"),
        ({"patch_embed.proj.weight": (192, 768)}, r"shape \(192, 768\); expected 4 dimensions"),
        ({"pos_embed": (1, 190, 192)}, r"table of 190 rows is no square grid beside 1 prefix"),
        ({"blocks.2.norm1.weight": (192,)}, r"no tensors for block 1, though there is a block 2"),
    ],
)
def test_shapes_of_no_network_are_refused(change: dict[str, Shape], complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        infer(shapes("vit_tiny_patch16_224") | change, CheckpointConfig())

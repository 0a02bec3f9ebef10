"""Network configurations inferred from shapes: every known architecture, with a note on each inferred value."""

import dataclasses
from typing import Any

import pytest

from tessella.benchmarks import timm_import  # noqa: F401
from tessella.models.checkpoints.config_json import CheckpointConfig, read_checkpoint_config
from tessella.models.checkpoints.infer_config import Shape, infer_config
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.costs import parameters
from tessella.models.errors import CheckpointError
from tessella.models.variants import VARIANTS


def shapes(name: str, **arguments: Any) -> dict[str, Shape]:
    """Shapes of timm's network, built on the meta device."""
    import timm

    network = timm.create_model(name, device="meta", depth=1, **arguments)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_timms_shapes_are_those_of_the_table(name: str) -> None:
    published = shapes(name, num_classes=VARIANTS[name].num_classes)
    config = infer_config(published, read_checkpoint_config(None, name)).config
    assert config == dataclasses.replace(VARIANTS[name], depth=1)
    count = sum(_numbers(shape) for shape in published.values())
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


def test_settings_common_to_all_known_architectures_are_inferred_with_a_note() -> None:
    inferred = infer_config(shapes("vit_tiny_patch16_224"), CheckpointConfig())
    assert isinstance(inferred.config, ViTConfig)
    assert (inferred.config.heads, inferred.config.norm_eps, inferred.config.feedforward) == (3, 1e-6, "gelu")
    assert any("number of heads 3" in note for note in inferred.notes)


def test_settings_that_known_architectures_differ_in_are_required() -> None:
    with pytest.raises(
        CheckpointError, match=r"activation cannot be read from tensors.*quick_gelu in .*`architecture=`"
    ):
        infer_config(shapes("vit_base_patch16_clip_224"), CheckpointConfig())
    with pytest.raises(CheckpointError, match=r"number of heads cannot be read from tensors.*16 in .*12 in "):
        infer_config(shapes("vit_base_patch16_gap_224"), CheckpointConfig())


def test_an_unknown_form_requires_an_architecture() -> None:
    with pytest.raises(CheckpointError, match=r"no known architecture matches; name the timm architecture"):
        infer_config(shapes("vit_tiny_patch16_224", embed_dim=96, num_heads=4), CheckpointConfig())


def test_fc_norm_outweighs_the_pooling_of_a_named_architecture() -> None:
    mean = shapes("vit_tiny_patch16_224", global_pool="avg")
    inferred = infer_config(mean, read_checkpoint_config(None, "vit_tiny_patch16_224"))
    assert isinstance(inferred.config, ViTConfig)
    assert (inferred.config.pooling, inferred.config.norm_after_pooling) == ("mean", True)
    (note,) = inferred.notes
    assert "mean pooling, as fc_norm shows; architecture='vit_tiny_patch16_224' has the class token" in note


def test_stated_pooling_outweighs_fc_norm() -> None:
    token = shapes("vit_tiny_patch16_224", fc_norm=True)
    given = read_checkpoint_config({"architecture": "vit_tiny_patch16_224", "global_pool": "token"})
    config = infer_config(token, given).config
    assert isinstance(config, ViTConfig)
    assert config.pooling == "token"


def test_mean_pooling_that_tensors_do_not_show_is_to_be_stated() -> None:
    token = shapes("eva_large_patch14_196", global_pool="token")
    document = {"architecture": "eva_large_patch14_196"}
    with pytest.raises(CheckpointError, match=r'no fc_norm.*state "global_pool": "token" or "avg" beside'):
        infer_config(token, read_checkpoint_config(document))
    config = infer_config(token, read_checkpoint_config(document | {"global_pool": "token"})).config
    assert isinstance(config, ViTConfig)
    assert config.pooling == "token"


def test_an_architecture_of_another_width_is_rejected() -> None:
    with pytest.raises(CheckpointError, match=r"'vit_base_patch16_224' has dim 768, the tensors have 192"):
        infer_config(shapes("vit_tiny_patch16_224"), read_checkpoint_config(None, "vit_base_patch16_224"))


def test_a_config_that_contradicts_the_tensors_is_rejected() -> None:
    document = {"model_type": "vit", "hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3}
    with pytest.raises(CheckpointError, match=r"config\.json has depth 12, the tensors have 1"):
        infer_config(shapes("vit_tiny_patch16_224"), read_checkpoint_config(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_embed.proj.weight": (192, 1, 16, 16)}, r"16×16 pixels of 1 channels"),
        ({"patch_embed.proj.weight": (192, 768)}, r"shape \(192, 768\); expected 4 dimensions"),
        ({"pos_embed": (1, 190, 192)}, r"table of 190 rows is no square grid beside 1 prefix"),
        ({"blocks.2.norm1.weight": (192,)}, r"no tensors for block 1, but for block 2"),
    ],
)
def test_inconsistent_shapes_are_rejected(change: dict[str, Shape], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        infer_config(shapes("vit_tiny_patch16_224") | change, CheckpointConfig())

"""Conversion parity: timm's networks with random weights give the same logits and embeddings once converted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tessella.models.checkpoints.convert import resample, translate
from tessella.models.errors import CheckpointError
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT
from tessella.models.registry import load_network
from tessella.models.variants import VARIANTS

from ...support.published_families import FAMILIES
from ...support.references import BIG, distance, images, timm_network, write_timm, write_weights

WHOLE = ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "tnt_s_patch16_224")
"""Networks compared at full depth and resolution; others get five patches a side and two blocks (big ones one)."""
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if VARIANTS[name].dim >= BIG else ())
    for family in FAMILIES
    for name in family.architectures
]


def theirs(network: Any, batch: Tensor) -> tuple[Tensor, Tensor]:
    tokens = network.forward_features(batch)
    return network.forward_head(tokens), network.forward_head(tokens, pre_logits=True)


def normalised(network: Any, row: Tensor) -> Tensor:
    return network.fc_norm(row) if hasattr(network, "fc_norm") else row


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_logits_and_embeddings_are_timms(name: str, tmp_path: Path) -> None:
    depth = 1 if VARIANTS[name].dim >= BIG else 2
    smaller = {} if name in WHOLE else {"depth": depth, "img_size": 5 * VARIANTS[name].patch_size}
    reference: Any = timm_network(name, **smaller)
    ours = load_network(str(write_timm(reference, tmp_path)))
    batch = images(ours.config.image_size, batch=1 if name in WHOLE else 2)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        logits, embeddings = theirs(reference.to(dtype), batch.to(dtype))
        assert distance(ours.to(dtype)(batch.to(dtype)), logits) <= tolerance
        assert distance(ours.features(batch.to(dtype)), embeddings) <= tolerance
    tokens = reference.forward_features(batch.double())
    if getattr(ours.config, "class_token", True):
        assert distance(ours.pooled(batch.double(), "cls"), normalised(reference, tokens[:, 0])) <= 1e-10
    mean = tokens[:, ours.config.tokens - ours.config.grid**2 :].mean(1)
    assert distance(ours.pooled(batch.double(), "mean"), normalised(reference, mean)) <= 1e-10


@pytest.fixture(scope="module")
def tiny() -> dict[str, Tensor]:
    return timm_network("vit_tiny_patch16_224", depth=2, img_size=80, num_classes=10).state_dict()


def reload(tensors: dict[str, Tensor], folder: Path) -> ViT | TNT:
    file = write_weights(tensors, folder / "tiny.safetensors")
    return load_network(str(file), architecture="vit_tiny_patch16_224")


def test_a_missing_tensor_is_named_as_the_checkpoint_would(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    without = {name: tensor for name, tensor in tiny.items() if name != "blocks.1.attn.proj.bias"}
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors: missing: blocks\.1\.attn\.proj\.bias$"):
        reload(without, tmp_path)


def test_an_unexpected_tensor_is_named(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not part of this network: attn_pool\.latent$"):
        reload(tiny | {"attn_pool.latent": torch.ones(1, 1, 192)}, tmp_path)


def test_a_tensor_of_the_wrong_shape_is_named_with_both_shapes(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = tiny | {"blocks.1.mlp.fc2.weight": torch.ones(192, 700)}
    expected = r"of the wrong shape: blocks\.1\.mlp\.fc2\.weight \(192, 700\) instead of \(192, 768\)"
    with pytest.raises(CheckpointError, match=expected):
        reload(wrong, tmp_path)


def test_a_duplicate_tensor_is_rejected(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    twice = tiny | {"reg_token": torch.ones(1, 4, 192), "register_tokens": torch.ones(1, 4, 192)}
    with pytest.raises(CheckpointError, match="duplicate tensor: 'register_tokens' and 'reg_token'"):
        reload(twice, tmp_path)


def test_a_missing_block_is_an_error(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    without_block = {name: tensor for name, tensor in tiny.items() if not name.startswith("blocks.0.")}
    with pytest.raises(CheckpointError, match=r"blocks\.0|block 0"):
        reload(without_block, tmp_path)


def test_nan_weights_raise_a_warning_with_their_names(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    broken = tiny | {"norm.bias": torch.full((192,), torch.nan)}
    with pytest.warns(UserWarning, match=r"tiny\.safetensors: NaN or infinite values in norm\.bias"):
        reload(broken, tmp_path)


@torch.inference_mode()
def test_half_precision_weights_load_as_float32(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    network = reload({name: tensor.half() for name, tensor in tiny.items()}, tmp_path)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert distance(network(images(80)), reload(tiny, tmp_path)(images(80))) < 0.05


@pytest.mark.parametrize("classes", [0, 1, 21843])
@torch.inference_mode()
def test_any_number_of_classes(classes: int, tmp_path: Path) -> None:
    reference = timm_network("vit_tiny_patch16_224", depth=1, img_size=80, num_classes=classes)
    network = reload(reference.state_dict(), tmp_path)
    assert network.config.num_classes == classes
    assert distance(network(images(80)), reference(images(80))) <= 1e-4


@torch.inference_mode()
def test_qk_norm_shows_the_number_of_heads(tmp_path: Path) -> None:
    reference = timm_network("vit_tiny_patch16_224", depth=2, img_size=80, qk_norm=True, num_heads=6)
    network = load_network(str(write_timm(reference, tmp_path)))
    assert network.config.heads == 6
    assert distance(network(images(80)), reference(images(80))) <= 1e-4


@torch.inference_mode()
def test_without_position_table(tmp_path: Path) -> None:
    reference = timm_network("vit_tiny_patch16_224", depth=2, img_size=80, pos_embed="none")
    network = load_network(str(write_timm(reference, tmp_path)))
    assert distance(network(images(80)), reference(images(80))) <= 1e-4


@pytest.mark.parametrize("grid", [3, 9])
def test_resampling_keeps_a_constant_table(grid: int) -> None:
    table = torch.full((25, 8), 0.5, dtype=torch.float64)
    assert torch.allclose(resample(table, grid, antialias=True), torch.full((grid**2, 8), 0.5, dtype=torch.float64))


def test_translation_keeps_the_dtype(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    config = reload(tiny, tmp_path).config
    translated = translate({name: tensor.double() for name, tensor in tiny.items()}, config)
    assert {tensor.dtype for tensor in translated.values()} == {torch.float64}


@torch.inference_mode()
def test_a_norm_after_class_token_pooling(tmp_path: Path) -> None:
    reference = timm_network("vit_tiny_patch16_224", depth=2, img_size=80, fc_norm=True)
    network = load_network(str(write_timm(reference, tmp_path)))
    assert distance(network.features(images(80)), theirs(reference, images(80))[1]) <= 1e-4

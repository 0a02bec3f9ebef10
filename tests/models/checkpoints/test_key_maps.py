"""Key maps for Hugging Face's old and new names and the authors' own; position tables resampled as in timm."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tessella.models.checkpoints.convert import translate
from tessella.models.checkpoints.key_maps import KEY_MAPS, find_key_map
from tessella.models.errors import CheckpointError
from tessella.models.networks.build import build_with_weights
from tessella.models.registry import load_network

from ...support.references import distance, images, randomise, timm_network, write_timm, write_weights

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SMALL = {**SIZES, "image_size": 40, "patch_size": 8, "num_labels": 5}
HUGGING_FACE: dict[str, dict[str, Any]] = {
    "ViTForImageClassification": {},
    "ViTModel": {"qkv_bias": False},
    "ViTMSNForImageClassification": {},
    "DeiTForImageClassification": {},
    "DeiTForImageClassificationWithTeacher": {},
    "DeiTModel": {},
    "Dinov2ForImageClassification": {},
    "Dinov2Model": {"use_swiglu_ffn": True},
    "Dinov2WithRegistersForImageClassification": {"num_register_tokens": 3},
    "Dinov2WithRegistersModel": {},
}


def hugging_face(name: str, **options: Any) -> nn.Module:
    import transformers

    kind = getattr(transformers, name)
    return randomise(kind(kind.config_class(**SMALL, **options)))


def output_of(network: nn.Module, batch: Tensor, **options: Any) -> Tensor:
    """Logits, or the class token without a head."""
    output = network(batch, **options)
    logits: Tensor | None = getattr(output, "logits", None)
    return output.last_hidden_state[:, 0] if logits is None else logits


def save_new_names(network: nn.Module, folder: Path) -> str:
    network.config.save_pretrained(folder)  # type: ignore
    write_weights(network.state_dict(), folder / "model.safetensors")
    return str(folder)


def save_old_names(network: nn.Module, folder: Path) -> str:
    network.save_pretrained(folder)  # type: ignore
    return str(folder)


@pytest.mark.parametrize("save", [save_old_names, save_new_names])
@pytest.mark.parametrize(("name", "options"), HUGGING_FACE.items(), ids=HUGGING_FACE.keys())
@torch.inference_mode()
def test_hugging_face(
    name: str, options: dict[str, Any], save: Callable[[nn.Module, Path], str], tmp_path: Path
) -> None:
    reference = hugging_face(name, **options)
    ours = load_network(save(reference, tmp_path))
    batch = images(40)
    assert distance(ours(batch), output_of(reference, batch)) <= 1e-4
    exact = build_with_weights(ours.config, translate(reference.double().state_dict(), ours.config))
    assert distance(exact(batch.double()), output_of(reference, batch.double())) <= 1e-10


@pytest.mark.parametrize("save", [save_old_names, save_new_names])
@pytest.mark.parametrize("size", [24, 72])
@pytest.mark.parametrize("name", [name for name in HUGGING_FACE if name.endswith("Classification")])
@torch.inference_mode()
def test_hugging_face_at_another_resolution(
    name: str, size: int, save: Callable[[nn.Module, Path], str], tmp_path: Path
) -> None:
    """Each family resamples its position table in its own way, to fewer rows (24 pixels) and to more (72)."""
    reference = hugging_face(name)
    ours = load_network(save(reference, tmp_path), image_size=size)
    options = {} if name.startswith("Dinov2") else {"interpolate_pos_encoding": True}
    assert distance(ours(images(size)), output_of(reference, images(size), **options)) <= 1e-4


def official_tnt(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict under the names of huawei-noah/Efficient-AI-Backbones, with its unused `outer_tokens`."""
    names = {
        "patch_pos": "outer_pos",
        "pixel_pos": "inner_pos",
        "pixel_embed.": "patch_embed.",
        "norm1_proj.": "proj_norm1.",
        "norm2_proj.": "proj_norm2.",
        ".mlp.": ".outer_mlp.",
        ".norm_in.": ".inner_norm1.",
        ".attn_in.": ".inner_attn.",
        ".norm_mlp_in.": ".inner_norm2.",
        ".mlp_in.": ".inner_mlp.",
        ".norm_out.": ".outer_norm1.",
        ".attn_out.": ".outer_attn.",
        ".norm_mlp.": ".outer_norm2.",
    }
    renamed = {}
    for name, tensor in state.items():
        new = name
        for timm_name, official in names.items():
            new = new.replace(timm_name, official)
        renamed[new] = tensor.flatten(2).transpose(1, 2) if name == "pixel_pos" else tensor
    return renamed | {"outer_tokens": torch.zeros(1, 25, 384)}


def deit3_of_the_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): state[name] for name in state}


def dinov2_of_the_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict under the names of facebookresearch/dinov2, whose table has a row for the class token."""
    renamed = {name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): state[name] for name in state}
    renamed["register_tokens"] = renamed.pop("reg_token")
    row = torch.full((1, 1, renamed["cls_token"].shape[2]), 0.25)
    renamed["cls_token"] = renamed["cls_token"] - row
    renamed["pos_embed"] = torch.cat([row, renamed["pos_embed"]], dim=1)
    return renamed | {"mask_token": torch.zeros(1, 1536)}


AUTHORS = {
    "tnt_s_patch16_224": official_tnt,
    "deit3_small_patch16_224": deit3_of_the_authors,
    "vit_giant_patch14_reg4_dinov2": dinov2_of_the_authors,
}


@pytest.mark.parametrize(("name", "renamed"), AUTHORS.items(), ids=AUTHORS.keys())
@torch.inference_mode()
def test_the_authors_names(
    name: str, renamed: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path
) -> None:
    size = 70 if "dinov2" in name else 80
    reference = timm_network(name, depth=1, img_size=size)
    file = write_weights(renamed(reference.state_dict()), tmp_path / "weights.safetensors")
    ours = load_network(str(file), architecture=name)
    assert distance(ours(images(size)), reference(images(size))) <= 1e-4


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit3_small_patch16_224", "tnt_s_patch16_224"])
@pytest.mark.parametrize("size", [64, 112])
@torch.inference_mode()
def test_resampled_as_timm_does(name: str, size: int, tmp_path: Path) -> None:
    original = timm_network(name, depth=1, img_size=80)
    ours = load_network(str(write_timm(original, tmp_path)), image_size=size)
    reference = timm_network(name, depth=1, img_size=size)
    resample = sys.modules[type(reference).__module__].checkpoint_filter_fn
    reference.load_state_dict(resample(original.state_dict(), reference))
    assert distance(ours(images(size)), reference(images(size))) <= 1e-4


def test_each_key_matches_one_key_map() -> None:
    keys = ["patch_embed.proj.weight", "vit.embeddings.patch_embeddings.projection.weight", "pixel_embed.proj.weight"]
    for key in keys:
        assert sum(bool(re.fullmatch(key_map.identifier, key)) for key_map in KEY_MAPS) == 1, key


def test_another_network_is_rejected_with_its_names_and_the_expected_ones() -> None:
    import timm

    names = timm.create_model("resnet18", device="meta").state_dict().keys()
    with pytest.raises(CheckpointError, match=r"conv1\.weight.*patch_embed\.proj\.weight"):
        find_key_map(names)


EPSILONS = {"ViTModel": 1e-12, "Dinov2Model": 1e-6, "Dinov2WithRegistersModel": 1e-6}


@pytest.mark.parametrize(("name", "norm_eps"), EPSILONS.items())
def test_the_key_map_gives_the_epsilon_of_bare_weights(name: str, norm_eps: float, tmp_path: Path) -> None:
    import transformers

    kind = getattr(transformers, name)
    sizes = {"hidden_size": 192, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 768}
    network = kind(kind.config_class(**sizes, image_size=32, patch_size=8))
    file = write_weights(network.state_dict(), tmp_path / "bare.safetensors")
    assert load_network(str(file)).config.norm_eps == norm_eps
    assert load_network(str(file), architecture="vit_tiny_patch16_224").config.norm_eps == norm_eps

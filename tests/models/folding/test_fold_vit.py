"""ViT folding is exact: in float64 the folded graph equals the published network, for every variant and step."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from tessella.kernels.options import Options
from tessella.kernels.reference import normalise
from tessella.models.config import ViTConfig
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.folding.fold_vit import ALL_STEPS, CPU_STEPS, Steps
from tessella.models.networks.vit import ViT

from ...support.folding import MEAN, MEANS, NO_STEP, STD, STDS, max_error, perturbed

SMALL: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "dim": 24,
    "depth": 3,
    "heads": 3,
    "mlp_dim": 64,
    "num_classes": 7,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "vit": {},
    "patch 16": {"patch_size": 16},
    "patch 4": {"patch_size": 4},
    "one block": {"depth": 1},
    "no head": {"num_classes": 0},
    "factorised positions": {"position": "factorised"},
    "sincos positions": {"position": "sincos"},
    "no positions": {"position": "none"},
    "positions without prefix": {"position_prefix": False},
    "distilled": {"distillation_token": True},
    "distilled, no head": {"distillation_token": True, "num_classes": 0},
    "distilled, registers, QK-norm": {"distillation_token": True, "register_tokens": 3, "qk_norm": True},
    "registers": {"register_tokens": 4},
    "mean": {"pooling": "mean"},
    "mean, no class token": {"pooling": "mean", "class_token": False},
    "mean, no head": {"pooling": "mean", "num_classes": 0},
    "mean, norm after": {"pooling": "mean", "norm_after_pooling": True},
    "mean, norm after, no head": {"pooling": "mean", "norm_after_pooling": True, "num_classes": 0},
    "token, norm after": {"norm_after_pooling": False},
    "no patch bias": {"patch_bias": False},
    "pre-norm": {"pre_norm": True},
    "no QKV bias": {"qkv_bias": False},
    "QK-norm": {"qk_norm": True},
    "QK-norm, no QKV bias": {"qk_norm": True, "qkv_bias": False},
    "LayerScale": {"layer_scale": True},
    "SwiGLU": {"feedforward": "swiglu"},
    "quick GELU": {"feedforward": "quick_gelu"},
    "large eps": {"norm_eps": 0.3},
    "CLIP": {"pre_norm": True, "patch_bias": False, "feedforward": "quick_gelu"},
    "DINOv2 giant": {"feedforward": "swiglu", "layer_scale": True, "register_tokens": 2, "position_prefix": False},
    "DeiT III": {"layer_scale": True, "position_prefix": False},
}


def outputs(config: ViTConfig, steps: Steps) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits and features of the published network, then of the folded graph."""
    network = perturbed(ViT, config)
    pixels = torch.randint(0, 256, (3, config.image_size, config.image_size, 3), dtype=torch.uint8)
    images = normalise(pixels, MEANS, STDS, torch.float64)
    fused = FusedViT(fold_network(network, MEAN, STD, steps, dtype=torch.float64))
    with torch.no_grad():
        return network(images), network.features(images), fused(pixels), fused.features(pixels)


@pytest.mark.parametrize("steps", [ALL_STEPS, CPU_STEPS, NO_STEP], ids=["every step", "CPU", "none"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_folded_graph_equals_the_network_in_float64(variant: str, steps: Steps) -> None:
    logits, features, fused_logits, fused_features = outputs(ViTConfig(**SMALL | VARIANTS[variant]), steps)
    assert max_error(logits, fused_logits) < 1e-10
    assert max_error(features, fused_features) < 1e-10


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Steps)])
@pytest.mark.parametrize("variant", ["vit", "LayerScale", "distilled", "QK-norm", "DINOv2 giant", "mean"])
def test_each_step_alone_is_exact(variant: str, field: str) -> None:
    logits, _, fused_logits, _ = outputs(
        ViTConfig(**SMALL | VARIANTS[variant]), dataclasses.replace(NO_STEP, **{field: True})
    )
    assert max_error(logits, fused_logits) < 1e-10


def test_the_variants_cover_every_field_of_the_configuration() -> None:
    varied = set(itertools.chain.from_iterable(VARIANTS.values())) | {"image_size", "dim", "heads", "mlp_dim"}
    assert varied == {field.name for field in dataclasses.fields(ViTConfig)}


def test_steps_that_do_not_hold_change_nothing() -> None:
    def folded(**changes: Any) -> Any:
        return fold_network(perturbed(ViT, ViTConfig(**SMALL | changes)), MEAN, STD, dtype=torch.float64)

    assert folded().last is not None
    assert folded(qk_norm=True).last is None
    assert folded(pooling="mean").last is None
    assert len(folded(pooling="mean").blocks) == 3
    assert folded(qk_norm=True).blocks[0].qkv.bias[24:48].abs().min() > 0
    assert folded().blocks[0].qkv.bias[24:48].abs().max() == 0


def test_in_bfloat16_the_folded_network_errs_no_more_than_the_plain_one() -> None:
    config = ViTConfig(**SMALL | {"dim": 48, "mlp_dim": 192})
    network = perturbed(ViT, config)
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8)
    exact_images = normalise(pixels, MEANS, STDS, torch.float64)
    fused = FusedViT(fold_network(network, MEAN, STD, dtype=torch.bfloat16), Options(implementation="torch"))
    with torch.no_grad():
        exact = network(exact_images)
        folded_error = (fused(pixels).double() - exact).square().mean().sqrt()
        plain_error = (network.bfloat16()(exact_images.bfloat16()).double() - exact).square().mean().sqrt()
    assert folded_error <= plain_error


def test_layer_norm_is_not_folded_for_token_mean_pooling() -> None:
    network = ViT(ViTConfig(image_size=32, patch_size=8, dim=24, depth=1, heads=3, mlp_dim=64, pooling="token_mean"))
    with pytest.raises(ValueError, match="LayerNorm is not folded for pooling 'token_mean'"):
        fold_network(network, MEAN, STD)

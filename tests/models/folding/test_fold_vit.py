"""Folding is exact: in float64 the folded graph is the published network, for every variant and every saving."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from tessella.kernels.options import Options
from tessella.kernels.reference import normalise
from tessella.models.config import ViTConfig
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.folding.fold_vit import ALL_STEPS, CPU_STEPS, Steps, fold_vit
from tessella.models.networks.vit import ViT

SMALL: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "dim": 24,
    "depth": 3,
    "heads": 3,
    "mlp_dim": 64,
    "num_classes": 7,
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEANS, STDS = torch.tensor(MEAN, dtype=torch.float64), torch.tensor(STD, dtype=torch.float64)
NO_STEP = Steps(pixels=False, layer_scale=False, last_block=False, layer_norm=False, key_bias=False)

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


def perturbed(config: ViTConfig, seed: int = 0) -> ViT:
    """A float64 network whose biases, norms and scales are far from their initial zeros and ones."""
    torch.manual_seed(seed)
    network = ViT(config).double().eval()
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.1)
    return network


def both(config: ViTConfig, steps: Steps) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits and features: of the published network, and of the folded graph."""
    network = perturbed(config)
    pixels = torch.randint(0, 256, (3, config.image_size, config.image_size, 3), dtype=torch.uint8)
    images = normalise(pixels, MEANS, STDS, torch.float64)
    fused = FusedViT(fold_vit(network, MEAN, STD, steps, dtype=torch.float64))
    with torch.no_grad():
        return network(images), network.features(images), fused(pixels), fused.features(pixels)


def worst(expected: torch.Tensor, found: torch.Tensor) -> float:
    assert expected.shape == found.shape
    return ((expected - found).abs().max() / expected.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize("steps", [ALL_STEPS, CPU_STEPS, NO_STEP], ids=["every step", "CPU", "none"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_float64_twin_is_the_network(variant: str, steps: Steps) -> None:
    logits, features, fused_logits, fused_features = both(ViTConfig(**SMALL | VARIANTS[variant]), steps)
    assert worst(logits, fused_logits) < 1e-10
    assert worst(features, fused_features) < 1e-10


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Steps)])
@pytest.mark.parametrize("variant", ["vit", "LayerScale", "distilled", "QK-norm", "DINOv2 giant", "mean"])
def test_each_step_stands_alone(variant: str, field: str) -> None:
    logits, _, fused_logits, _ = both(
        ViTConfig(**SMALL | VARIANTS[variant]), dataclasses.replace(NO_STEP, **{field: True})
    )
    assert worst(logits, fused_logits) < 1e-10


def test_the_variants_cover_every_field_of_the_configuration() -> None:
    varied = set(itertools.chain.from_iterable(VARIANTS.values())) | {"image_size", "dim", "heads", "mlp_dim"}
    assert varied == {field.name for field in dataclasses.fields(ViTConfig)}


def test_what_the_algebra_does_not_allow_is_left_alone() -> None:
    def folded(**changes: Any) -> Any:
        return fold_vit(perturbed(ViTConfig(**SMALL | changes)), MEAN, STD, dtype=torch.float64)

    assert folded().last is not None
    assert folded(qk_norm=True).last is None
    assert folded(pooling="mean").last is None
    assert len(folded(pooling="mean").blocks) == 3
    assert folded(qk_norm=True).blocks[0].qkv.bias[24:48].abs().min() > 0
    assert folded().blocks[0].qkv.bias[24:48].abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_weights_give_the_row_sums_and_the_pixel_shift(dtype: torch.dtype) -> None:
    network = perturbed(ViTConfig(**SMALL))
    exact = fold_vit(network, MEAN, STD, dtype=torch.float64)
    graph = fold_vit(network, MEAN, STD, dtype=dtype)
    qkv = graph.blocks[0].qkv
    assert qkv.weight.dtype == dtype
    assert qkv.bias is not None
    assert qkv.sums is not None
    assert qkv.bias.dtype == torch.float32
    torch.testing.assert_close(qkv.sums, qkv.weight.double().sum(dim=1).float())
    grey = MEANS.repeat(64) * 255
    rounded = graph.patches.table[1:].double() + graph.patches.weight.double() @ grey
    torch.testing.assert_close(rounded, exact.patches.table[1:] + exact.patches.weight @ grey, atol=1e-4, rtol=1e-4)


def test_in_bfloat16_the_folded_network_errs_no_more_than_the_plain_one() -> None:
    config = ViTConfig(**SMALL | {"dim": 48, "mlp_dim": 192})
    network = perturbed(config)
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8)
    exact_images = normalise(pixels, MEANS, STDS, torch.float64)
    fused = FusedViT(fold_vit(network, MEAN, STD, dtype=torch.bfloat16), Options(implementation="torch"))
    with torch.no_grad():
        exact = network(exact_images)
        folded_error = (fused(pixels).double() - exact).square().mean().sqrt()
        plain_error = (network.bfloat16()(exact_images.bfloat16()).double() - exact).square().mean().sqrt()
    assert folded_error <= plain_error


def test_a_network_that_pools_two_ways_is_refused() -> None:
    network = ViT(ViTConfig(image_size=32, patch_size=8, dim=24, depth=1, heads=3, mlp_dim=64, pooling="token_mean"))
    with pytest.raises(ValueError, match="pools one way"):
        fold_vit(network, MEAN, STD)

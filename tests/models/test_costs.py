"""Costs: parameters and multiply-accumulates equal published figures and those that torch counts."""

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tessella.models.config import Config, TNTConfig, ViTConfig
from tessella.models.costs import gmacs, macs, parameters
from tessella.models.networks.build import build
from tessella.models.variants import VARIANTS

PUBLISHED = {
    "vit_tiny_patch16_224": (5.72, 1.26),
    "vit_small_patch16_224": (22.05, 4.61),
    "vit_base_patch16_224": (86.57, 17.58),
    "vit_base_patch32_224": (88.22, 4.41),
    "vit_large_patch16_224": (304.33, 61.60),
    "vit_huge_patch14_224": (632.05, 167.40),
    "deit3_medium_patch16_224": (38.85, 8.00),
    "tnt_s_patch16_224": (23.77, 5.25),
    "tnt_b_patch16_224": (65.43, 14.10),
}
"""Parameters in millions and GMACs, from timm's tables and the papers."""

SMALL = ViTConfig(image_size=32, patch_size=8, dim=24, depth=2, heads=3, mlp_dim=64, num_classes=7)
SMALL_TNT = TNTConfig(
    image_size=32, patch_size=8, sub_patch_size=4, dim=24, depth=2, heads=3, mlp_dim=64, inner_dim=8, inner_mlp_dim=16
)
FORMS: dict[str, Config] = {
    "plain": SMALL,
    "factorised": dataclasses.replace(SMALL, position="factorised"),
    "sincos": dataclasses.replace(SMALL, position="sincos"),
    "none": dataclasses.replace(SMALL, position="none"),
    "distilled, registers": dataclasses.replace(SMALL, distillation_token=True, register_tokens=3),
    "swiglu, scales": dataclasses.replace(SMALL, feedforward="swiglu", layer_scale=True, qk_norm=True),
    "clip": dataclasses.replace(SMALL, pre_norm=True, patch_bias=False, qkv_bias=False),
    "both poolings": dataclasses.replace(SMALL, pooling="token_mean"),
    "tnt": SMALL_TNT,
    "tnt, paper's words": dataclasses.replace(SMALL_TNT, sub_patch_embedding="linear", qkv_bias=True),
    "tnt, legacy": dataclasses.replace(SMALL_TNT, normalise_projection=False, inner_position=False),
}


@pytest.mark.parametrize(("name", "figures"), PUBLISHED.items())
def test_published_figures(name: str, figures: tuple[float, float]) -> None:
    config = VARIANTS[name]
    assert round(parameters(config) / 1e6, 2) == pytest.approx(figures[0], abs=0.011)
    assert round(gmacs(config), 2) == pytest.approx(figures[1], abs=0.011)


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_the_networks(form: str) -> None:
    network = build(FORMS[form])
    assert parameters(FORMS[form]) == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_multiplications_are_those_that_torch_counts(form: str) -> None:
    config = FORMS[form]
    network = build(config).eval()
    images = torch.zeros(1, 3, config.image_size, config.image_size)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        network(images)
    assert macs(config) == counter.get_total_flops() // 2

"""TNT folding is exact: in float64 the folded graph equals the published network, for every form and step."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from tessella.kernels.options import Options
from tessella.kernels.reference import normalise
from tessella.models.config import TNTConfig
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_tnt import FusedTNT
from tessella.models.folding.fold_vit import ALL_STEPS, CPU_STEPS, Steps
from tessella.models.networks.tnt import TNT

from ...support.folding import MEAN, MEANS, NO_STEP, STD, STDS, max_error, perturbed

SMALL: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "sub_patch_size": 2,
    "dim": 24,
    "depth": 3,
    "heads": 3,
    "mlp_dim": 40,
    "inner_dim": 12,
    "inner_heads": 2,
    "inner_mlp_dim": 20,
    "num_classes": 7,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "timm": {},
    "timm legacy": {"sub_patch_embedding": "image_convolution", "normalise_projection": False},
    "paper": {"sub_patch_embedding": "linear"},
    "legacy projection": {"normalise_projection": False},
    "convolution over the image": {"sub_patch_embedding": "image_convolution"},
    "strides of four": {"sub_patch_embedding": "image_convolution", "patch_size": 16, "sub_patch_size": 4},
    "one patch": {"sub_patch_embedding": "image_convolution", "patch_size": 32, "sub_patch_size": 8},
    "an odd grid": {"image_size": 24, "sub_patch_embedding": "linear"},
    "QKV bias": {"qkv_bias": True},
    "no inner position": {"inner_position": False},
    "no outer position": {"outer_position": False},
    "one block": {"depth": 1},
    "no head": {"num_classes": 0},
    "large eps": {"norm_eps": 0.3},
    "another number of words": {"patch_size": 16, "sub_patch_size": 2},
}


def check(changes: dict[str, Any], steps: Steps) -> None:
    network = perturbed(TNT, TNTConfig(**SMALL | changes))
    size = network.config.image_size
    pixels = torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8)
    images = normalise(pixels, MEANS, STDS, torch.float64)
    fused = FusedTNT(fold_network(network, MEAN, STD, steps, dtype=torch.float64))
    with torch.no_grad():
        assert max_error(network(images), fused(pixels)) < 1e-10
        assert max_error(network.features(images), fused.features(pixels)) < 1e-10


@pytest.mark.parametrize("steps", [ALL_STEPS, CPU_STEPS, NO_STEP], ids=["every step", "CPU", "none"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_folded_graph_equals_the_network_in_float64(variant: str, steps: Steps) -> None:
    check(VARIANTS[variant], steps)


@pytest.mark.parametrize("field", ["pixels", "last_block", "layer_norm", "key_bias", "inner_attention"])
@pytest.mark.parametrize("variant", ["timm", "timm legacy", "QKV bias"])
def test_each_step_alone_is_exact(variant: str, field: str) -> None:
    check(VARIANTS[variant], dataclasses.replace(NO_STEP, **{field: True}))


def test_the_variants_cover_every_field_of_the_configuration() -> None:
    varied = set(itertools.chain(*VARIANTS.values())) | {"dim", "heads", "mlp_dim"}
    varied |= {"inner_dim", "inner_heads", "inner_mlp_dim"}
    assert varied == {field.name for field in dataclasses.fields(TNTConfig)}


def test_in_bfloat16_the_folded_network_errs_no_more_than_the_plain_one() -> None:
    network = perturbed(TNT, TNTConfig(**SMALL | {"dim": 48, "mlp_dim": 192}))
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8)
    exact_images = normalise(pixels, MEANS, STDS, torch.float64)
    fused = FusedTNT(fold_network(network, MEAN, STD, dtype=torch.bfloat16), Options(implementation="torch"))
    with torch.no_grad():
        exact = network(exact_images)
        folded_error = (fused(pixels).double() - exact).square().mean().sqrt()
        plain_error = (network.bfloat16()(exact_images.bfloat16()).double() - exact).square().mean().sqrt()
    assert folded_error <= plain_error

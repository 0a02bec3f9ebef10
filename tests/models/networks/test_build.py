"""Building of plain networks: initial weights, given weights, and pixel normalisation in float32."""

import pytest
import torch
from torch import nn

from tessella.models.config import Config, TNTConfig, ViTConfig
from tessella.models.networks.build import NormalizedNetwork, build, build_with_weights
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT

CONFIGS: list[Config] = [
    ViTConfig(image_size=32, patch_size=8, dim=24, depth=1, heads=3, mlp_dim=48, num_classes=5),
    TNTConfig(image_size=32, patch_size=8, dim=24, depth=1, heads=3, mlp_dim=48, inner_dim=8, num_classes=5),
]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_pixels_are_normalised_once_and_rounded_last(dtype: torch.dtype) -> None:
    pixels = torch.randint(0, 256, (2, 4, 6, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values, dtype=torch.float32).double() for values in (MEAN, STD))
    expected = ((pixels.double() / 255 - mean) / std).permute(0, 3, 1, 2)
    convolution = nn.Conv2d(3, 5, 2).to(dtype)
    network = NormalizedNetwork(convolution, MEAN, STD)
    images = network.images(pixels)
    assert (images.dtype, images.shape) == (dtype, (2, 3, 4, 6))
    tolerance = 4e-7 if dtype != torch.bfloat16 else 0.5**8  # half a step of the last bit
    assert torch.allclose(images.double(), expected, rtol=tolerance, atol=1e-6)
    assert torch.equal(network(pixels), convolution(images))


@pytest.mark.parametrize(("config", "family"), [(CONFIGS[0], ViT), (CONFIGS[1], TNT)], ids=["vit", "tnt"])
def test_given_weights_are_held_and_not_copied(config: Config, family: type[nn.Module]) -> None:
    initial = build(config)
    assert isinstance(initial, family)
    assert initial.training
    network = build_with_weights(config, initial.state_dict())
    weights = dict(network.named_parameters())
    assert all(weights[name].data_ptr() == held.data_ptr() for name, held in initial.named_parameters())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_incomplete_weights_are_an_error() -> None:
    state = build(CONFIGS[0]).state_dict()
    del state["norm.bias"]
    with pytest.raises(RuntimeError, match=r"norm\.bias"):
        build_with_weights(CONFIGS[0], state)

"""Receptive field of ResNet-50, compared with gradients through torchvision's network."""

import pytest
import torch
from torch import nn

from tessella.benchmarks import timm_import  # noqa: F401  torchvision too
from tessella.models.explain.receptive_field import Window, receptive_fields, receptive_radii, resnet_blocks


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """ResNet-50 with positive weights and mean pooling, so that every pixel in the receptive field has a gradient."""
    from torchvision.models import resnet50

    network = resnet50(weights=None).double().eval()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)
    network.maxpool = nn.AvgPool2d(3, 2, 1)
    return network


@pytest.mark.parametrize("block", [1, 3, 4, 7, 8])
def test_the_gradient_of_one_unit_spans_the_receptive_field(resnet: nn.Module, block: int) -> None:
    layers = nn.ModuleList([*resnet.layer1, *resnet.layer2, *resnet.layer3])  # type: ignore[misc]
    image = torch.ones(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(image))))  # type: ignore[operator]
    for layer in layers[:block]:
        x = layer(x)
    middle = x.shape[2] // 2
    x[0, 0, middle, middle].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].abs().sum(dim=0).nonzero()[:, 0]
    assert int(touched[-1] - touched[0]) + 1 == receptive_fields(resnet_blocks())[block - 1]


def test_sixteen_blocks_have_a_receptive_radius() -> None:
    fields = receptive_fields(resnet_blocks())
    assert len(fields) == 16
    assert receptive_radii(12) == [(side - 1) / 2 for side in fields[:12]]
    assert len(receptive_radii(24)) == 16


def test_a_window_covers_its_kernel_and_strides_multiply() -> None:
    assert receptive_fields([[Window(7, 2)], [Window(3, 2)], [Window(3)]]) == [7, 11, 19]

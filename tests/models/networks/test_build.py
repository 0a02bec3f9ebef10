"""A plain network gets pixels normalised in float32, whatever its own dtype."""

import pytest
import torch
from torch import nn

from tessella.models.networks.build import NormalizedNetwork

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

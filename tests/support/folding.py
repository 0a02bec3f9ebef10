"""Networks and comparisons for tests of folding: random float64 networks, pixel statistics, maximum error."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from tessella.models.folding.fold_vit import Steps

C = TypeVar("C")
N = TypeVar("N", bound=nn.Module)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEANS, STDS = torch.tensor(MEAN, dtype=torch.float64), torch.tensor(STD, dtype=torch.float64)
NO_STEP = Steps(pixels=False, layer_scale=False, last_block=False, layer_norm=False, key_bias=False)


def perturbed(family: Callable[[C], N], config: C, seed: int = 0) -> N:
    """Float64 network whose biases, norms and tables are far from their initial zeros and ones."""
    torch.manual_seed(seed)
    network = family(config).double().eval()
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.1)
    return network


def max_error(expected: Tensor, actual: Tensor) -> float:
    """Maximum difference relative to the largest expected value, or to one if that is larger; shapes must agree."""
    assert expected.shape == actual.shape
    return ((expected - actual).abs().max() / expected.abs().max().clamp(min=1)).item()

"""Position tables as arrays: equal to the network's, whatever its dtype; and the formula of the fixed one."""

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tessella.models.config import Position, ViTConfig
from tessella.models.execution.folded_tensors import state_arrays
from tessella.models.networks.position_table import position_table, sincos_table
from tessella.models.networks.vit import ViT

SMALL = ViTConfig(image_size=16, patch_size=4, dim=32, depth=1, heads=2, mlp_dim=64, num_classes=5)
PREFIXES: dict[str, dict[str, Any]] = {
    "class token": {},
    "registers without rows": {"register_tokens": 3, "position_prefix": False},
    "distilled": {"distillation_token": True},
    "no prefix": {"class_token": False, "pooling": "mean"},
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("position", [kind for kind in get_args(Position) if kind != "none"])
def test_a_table_equals_the_networks(position: Position, prefix: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = ViT(replace(SMALL, position=position, **PREFIXES[prefix]))
    for parameter in network.position_embedding.parameters():
        torch.nn.init.normal_(parameter)
        parameter.data = parameter.data.to(dtype)
    table = position_table(network.config, state_arrays(network))
    expected = network.position_embedding.table().detach().double().numpy()
    assert table.dtype == np.float64
    assert table.shape == expected.shape
    assert np.abs(table - expected).max() <= 1e-12


def test_a_network_without_positions_has_a_table_of_zeros() -> None:
    table = position_table(replace(SMALL, position="none"), {})
    assert table.shape == (17, 32)
    assert not table.any()


def test_a_table_is_a_copy() -> None:
    weights = {"position_embedding.weight": np.zeros((17, 32))}
    position_table(SMALL, weights)[:] = 1
    assert not weights["position_embedding.weight"].any()


def test_sincos_follows_its_formula() -> None:
    table = sincos_table(3, 8)
    for row in range(3):
        for column in range(3):
            expected = [
                wave(index / 10_000 ** (step / 2))
                for index in (column, row)
                for wave in (math.sin, math.cos)
                for step in range(2)
            ]
            assert table[3 * row + column].tolist() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="divisible by 4"):
        sincos_table(3, 10)

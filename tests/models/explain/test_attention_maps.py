"""Attention maps: weights, rollout and distances on small examples with known results."""

import math

import pytest
import torch
import torch.nn.functional as F

from tessella.models.explain.attention_maps import (
    Rollout,
    attention_weights,
    mean_distance,
    pooled_attention,
    uniform_distance,
)
from tessella.models.networks.layers import Attention


def some_weights(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_weights_times_values_are_the_modules_own_output(qk_norm: bool) -> None:
    torch.manual_seed(0)
    module = Attention(24, 3, qkv_bias=True, qk_norm=qk_norm).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    weights = attention_weights(module, x)
    assert weights.shape == (2, 3, 7, 7)
    values = module.qkv(x)[..., 48:].unflatten(-1, (3, 8)).transpose(1, 2)
    mixed = module.projection((weights @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(mixed, module(x), rtol=0, atol=1e-11)


def test_the_class_tokens_row_without_the_prefix_or_the_mean_of_patches_rows() -> None:
    weights = some_weights(3, 7, 7)
    assert torch.equal(pooled_attention(weights, 3, mean=False), weights[:, 0, 3:])
    assert torch.allclose(
        pooled_attention(weights, 3, mean=True),
        torch.stack([weights[:, row, 3:] for row in range(3, 7)]).sum(dim=0) / 4,
    )


def test_rollout_multiplies_half_the_mean_and_half_the_residual() -> None:
    layers = some_weights(3, 2, 4, 5, 5)
    rollout = Rollout()
    for layer in layers:
        flow = rollout(layer)
    expected = torch.eye(5, dtype=torch.float64)
    for layer in layers:
        expected = (0.5 * torch.eye(5) + 0.5 * layer[1].mean(dim=0)) @ expected
    assert torch.allclose(flow[1], expected, rtol=0, atol=1e-12)
    assert torch.allclose(flow.sum(dim=-1), torch.ones(2, 5, dtype=torch.float64))


def test_distances_of_attention_to_oneself_and_to_the_neighbour() -> None:
    itself = torch.eye(9, dtype=torch.float64)
    assert mean_distance(itself, 3, 16) == 0
    right = itself.roll(1, dims=1)  # the next patch; from a row's end, the next row's beginning
    ends = 2 * math.hypot(16, 32) + math.hypot(32, 32)
    assert float(mean_distance(right, 3, 16)) == pytest.approx((6 * 16 + ends) / 9)


def test_distance_is_a_mean_over_pairs_of_patches_weighted_by_attention() -> None:
    weights = some_weights(2, 3, 6, 6)  # 2 prefix tokens, 2 × 2 patches of 8 pixels
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for query in range(4):
        among = weights[..., 2 + query, 2:]
        for key in range(4):
            apart = 8 * math.hypot(query // 2 - key // 2, query % 2 - key % 2)
            expected += among[..., key] / among.sum(dim=-1) * apart / 4
    assert torch.allclose(mean_distance(weights, 2, 8, prefix=2), expected, rtol=0, atol=1e-12)


def test_attention_on_the_prefix_only_has_distance_zero() -> None:
    weights = F.one_hot(torch.zeros(5, dtype=torch.long), 5).float()
    assert float(mean_distance(weights, 2, 8, prefix=1)) == 0


def test_distance_of_uniform_attention() -> None:
    expected = (
        sum(math.hypot(a - c, b - d) for a in range(3) for b in range(3) for c in range(3) for d in range(3)) / 81
    )
    assert uniform_distance(3, 4) == pytest.approx(4 * expected)

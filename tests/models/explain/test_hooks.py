"""Layer hooks: every layer is recorded in order, and the hooks are removed afterwards."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.explain.hooks import layer_hooks
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT

SIZES: dict[str, Any] = {"image_size": 16, "patch_size": 8, "dim": 24, "depth": 2, "heads": 2, "mlp_dim": 32}
IMAGE = torch.zeros(1, 3, 16, 16)


@torch.no_grad()
def test_shapes_of_a_vit() -> None:
    attention: list[Tensor] = []
    tokens: list[Tensor] = []
    network = ViT(ViTConfig(**SIZES, register_tokens=1)).eval()
    with layer_hooks(network, attention=attention.append, tokens=tokens.append):
        network(IMAGE)
    assert [tuple(weights.shape) for weights in attention] == [(1, 2, 6, 6)] * 2
    assert [tuple(output.shape) for output in tokens] == [(1, 6, 24)] * 2


@torch.no_grad()
def test_shapes_of_a_tnt() -> None:
    recorded: dict[str, list[Tensor]] = {"attention": [], "inner_attention": [], "tokens": [], "inner_tokens": []}
    network = TNT(TNTConfig(**SIZES, sub_patch_size=2, inner_dim=12, inner_heads=3, inner_mlp_dim=24)).eval()
    with layer_hooks(network, **{name: values.append for name, values in recorded.items()}):
        network(IMAGE)
    assert {name: [tuple(value.shape) for value in values] for name, values in recorded.items()} == {
        "attention": [(1, 2, 5, 5)] * 2,
        "inner_attention": [(4, 3, 16, 16)] * 2,
        "tokens": [(1, 5, 24)] * 2,
        "inner_tokens": [(4, 16, 12)] * 2,
    }


def test_hooks_are_removed_even_after_an_error() -> None:
    network = ViT(ViTConfig(**SIZES)).eval()
    with pytest.raises(ZeroDivisionError), layer_hooks(network, tokens=lambda tokens: 1 / 0):  # type: ignore[arg-type]
        network(IMAGE)
    assert not any(module._forward_hooks for module in network.modules())

"""Roofline bounds, against figures computed by hand and the counted FLOPs of a folded network."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tessella.benchmarks import roofline
from tessella.models import costs
from tessella.models.config import ViTConfig
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.networks.vit import ViT

BASE = ViTConfig()


def test_a_vit_b_on_an_h200() -> None:
    """17.56 GMAC, 86.57 million parameters; the last-block cut saves 8.2 %."""
    limit = roofline.bound(BASE, 256, roofline.ceiling_of("h200"))
    assert limit.flops == pytest.approx(2 * 17.56e9 * 256, rel=1e-3)
    assert 1 - limit.folded_flops / limit.flops == pytest.approx(0.082, abs=1e-3)
    assert limit.seconds == limit.compute_seconds == limit.folded_flops / 989e12
    assert limit.bytes == 2 * costs.parameters(BASE) + 256 * (224 * 224 * 3 + 2000)
    assert roofline.bound(BASE, 1, roofline.ceiling_of("h200")).seconds == pytest.approx(173.3e6 / 4.8e12, rel=1e-2)


@pytest.mark.parametrize(
    "changes",
    [{}, {"distillation_token": True}, {"pooling": "mean"}, {"qk_norm": True}, {"feedforward": "swiglu"}],
    ids=str,
)
def test_folded_macs_are_those_that_a_folded_network_runs(changes: dict[str, Any]) -> None:
    config = ViTConfig(
        **{"image_size": 32, "patch_size": 8, "dim": 24, "depth": 3, "heads": 3, "mlp_dim": 64, "num_classes": 7}
        | changes
    )
    network = FusedViT(fold_network(ViT(config).eval(), (0.5,) * 3, (0.5,) * 3))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    uncounted = 2 * 2 * len(network.graph.blocks) * 2 * config.tokens**2 * config.dim  # attention on a CPU
    assert counter.get_total_flops() + uncounted == 2 * 2 * roofline.folded_macs(config)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no datasheet for 'voodoo'"):
        roofline.ceiling_of("voodoo")
    with pytest.raises(ValueError, match="unknown architecture 'vit_nano'"):
        roofline.config_of("vit_nano")

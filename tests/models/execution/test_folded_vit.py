"""Folded ViT of two layers through the launchers in Triton's interpreter, against the plain one in float64."""

from typing import Any

import pytest
import torch

from tessella.kernels.options import Options, Workspace
from tessella.kernels.reference import normalise
from tessella.kernels.triton import attention, class_attention, grouped_linear, layer_norm, linear, patch_embed
from tessella.models.config import ViTConfig
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_vit import FusedViT
from tessella.models.folding.fold_vit import ALL_STEPS, CPU_STEPS, Steps
from tessella.models.networks.vit import ViT

from ...support.aot.launches import GPUS, record_launches

SMALL: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 4,
    "dim": 40,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 64,
    "num_classes": 9,
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, ALL_STEPS),
        ({}, CPU_STEPS),
        ({"distillation_token": True, "register_tokens": 1, "layer_scale": True}, ALL_STEPS),
        ({"qk_norm": True, "pre_norm": True, "feedforward": "swiglu"}, ALL_STEPS),
        ({"pooling": "mean", "num_classes": 0, "feedforward": "quick_gelu"}, ALL_STEPS),
        ({"pooling": "mean", "norm_after_pooling": True}, ALL_STEPS),
    ],
    ids=["ViT", "LayerNorm not folded", "DeiT distilled", "QK-norm", "mean", "mean, norm after"],
)
def test_the_folded_network(changes: dict[str, Any], steps: Steps) -> None:
    torch.manual_seed(0)
    config = ViTConfig(**SMALL | changes)
    network = ViT(config).double().eval()
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (MEAN, STD))
    workspace = Workspace()
    fused = FusedViT(fold_network(network, MEAN, STD, steps), Options(implementation="triton", workspace=workspace))
    with torch.no_grad():
        expected = network(normalise(pixels, mean, std, torch.float64))
        found = fused(pixels)
        size = workspace.bytes
        again = fused(pixels.clone())
    assert (found - expected).abs().max() / expected.abs().max() < 1e-5
    assert torch.equal(found, again)
    assert workspace.bytes == size


def test_batch_invariance_is_one_configuration_for_every_batch() -> None:
    """Tiles and constants; bits are compared on a GPU, as the interpreter's sums depend on a row's position."""
    config = ViTConfig(depth=2, dim=384, heads=6, mlp_dim=1536)
    network = FusedViT(fold_network(ViT(config), MEAN, STD), Options("triton", batch_invariant=True))
    seen = []
    for batch in (1, 37):
        with record_launches(GPUS[90], None) as launches:
            network(torch.empty(batch, 224, 224, 3, dtype=torch.uint8))
        seen.append(
            [(launch.kernel.__name__, launch.config, launch.constants | {"PROGRAMS": 0}) for launch in launches]
        )
    assert seen[0] == seen[1]


def test_a_block_is_five_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []
    for module in (linear, attention, patch_embed, layer_norm, class_attention, grouped_linear):
        monkeypatch.setattr(module, "launch", lambda kernel, *_, **__: launched.append(kernel.__name__))
    counts = []
    for depth in (2, 3):
        launched.clear()
        graph = fold_network(ViT(ViTConfig(**SMALL | {"depth": depth})), MEAN, STD)
        FusedViT(graph, Options(implementation="triton"))(torch.zeros(1, 16, 16, 3, dtype=torch.uint8))
        counts.append(len(launched))
    assert counts[1] - counts[0] == 5

"""Folded TNT of two layers through the launchers in Triton's interpreter, against the plain one in float64."""

from typing import Any

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.options import Options, Workspace
from tessella.kernels.reference import normalise
from tessella.kernels.tuning import tables
from tessella.kernels.weights import InnerWeights
from tessella.models.config import TNTConfig
from tessella.models.execution import folded_tnt
from tessella.models.execution.folded_tensors import fold_network
from tessella.models.execution.folded_tnt import ORDER_KEY, FusedTNT
from tessella.models.folding.fold_vit import ALL_STEPS, CPU_STEPS, Steps
from tessella.models.networks.tnt import TNT

from ...support.aot.launches import GPUS, record_launches

SMALL: dict[str, Any] = {
    "image_size": 16,
    "patch_size": 8,
    "sub_patch_size": 2,
    "dim": 24,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 32,
    "inner_dim": 12,
    "inner_heads": 2,
    "inner_mlp_dim": 24,
    "num_classes": 9,
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"sub_patch_embedding": "image_convolution", "normalise_projection": False, "qkv_bias": True}, ALL_STEPS),
        ({}, CPU_STEPS),
    ],
    ids=["timm legacy", "timm, LayerNorm not folded"],
)
def test_the_folded_network(changes: dict[str, Any], steps: Steps) -> None:
    torch.manual_seed(0)
    network = TNT(TNTConfig(**SMALL | changes)).double().eval()
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (MEAN, STD))
    workspace = Workspace()
    fused = FusedTNT(fold_network(network, MEAN, STD, steps), Options(implementation="triton", workspace=workspace))
    with torch.no_grad():
        expected = network(normalise(pixels, mean, std, torch.float64))
        found = fused(pixels).clone()
        size = workspace.bytes
        again = fused(pixels.clone())
    assert (found - expected).abs().max() / expected.abs().max() < 1e-5
    assert torch.equal(found, again)
    assert workspace.bytes == size


def test_batch_invariance_is_one_configuration_for_every_batch() -> None:
    """Tiles and constants, as in test_folded_vit.py."""
    network = FusedTNT(fold_network(TNT(TNTConfig(depth=2)), MEAN, STD), Options("triton", batch_invariant=True))
    seen = []
    for batch in (1, 37):
        with record_launches(GPUS[90], None) as launches:
            network(torch.empty(batch, 224, 224, 3, dtype=torch.uint8))
        seen.append(
            [(launch.kernel.__name__, launch.config, launch.constants | {"PROGRAMS": 0}) for launch in launches]
        )
    assert seen[0] == seen[1]


def test_overlapped_inner_blocks_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five blocks in two parts; the order comes from the measured table, by default ahead."""
    torch.manual_seed(0)
    network = TNT(TNTConfig(**SMALL | {"depth": 5})).eval()
    graph = fold_network(network, MEAN, STD)
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    options = Options("triton", workspace=Workspace())
    ahead = FusedTNT(graph, options)(pixels).clone()
    monkeypatch.setattr(
        tables, "measured_choice", lambda gpu, name, rows, *_: "overlapped" if (name, rows) == (ORDER_KEY, 10) else None
    )
    parts: list[tuple[int, int]] = []
    run = tnt_ops.tnt_inner_part

    def spy(words: torch.Tensor, weights: InnerWeights, first: int, last: int, **keywords: Any) -> Any:
        parts.append((first, last))
        return run(words, weights, first, last, **keywords)

    monkeypatch.setattr(folded_tnt, "tnt_inner_part", spy)
    assert torch.equal(FusedTNT(graph, options)(pixels), ahead)
    assert parts == [(0, 3), (3, 5)]
    plain = FusedTNT(graph, Options("torch", workspace=Workspace()))(pixels)
    torch.testing.assert_close(plain, ahead, atol=1e-4, rtol=1e-4)
    assert parts == [(0, 3), (3, 5)] * 2
    FusedTNT(graph, Options("torch"))(pixels)
    assert len(parts) == 4, "without a workspace the inner blocks run ahead"

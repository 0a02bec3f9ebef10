"""Parity: random weights made by timm give the same logits and embeddings through our loading and our networks."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tessella.models.registry import load_network
from tessella.models.table import FAMILIES
from tessella.models.variants import VARIANTS

from .references import BIG, distance, images, timm_network, write_timm

WHOLE = ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "tnt_s_patch16_224")
"""At full depth and resolution; others have five patches a side, two blocks (big ones one) and all other dimensions."""
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if VARIANTS[name].dim >= BIG else ())
    for family in FAMILIES
    for name in family.architectures
]


def theirs(network: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    tokens = network.forward_features(batch)
    return network.forward_head(tokens), network.forward_head(tokens, pre_logits=True)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_logits_and_embeddings_are_timms(name: str, tmp_path: Path) -> None:
    depth = 1 if VARIANTS[name].dim >= BIG else 2
    smaller = {} if name in WHOLE else {"depth": depth, "img_size": 5 * VARIANTS[name].patch_size}
    reference = timm_network(name, **smaller)
    ours = load_network(str(write_timm(reference, tmp_path)))
    batch = images(ours.config.image_size, batch=1 if name in WHOLE else 2)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        logits, embeddings = theirs(reference.to(dtype), batch.to(dtype))
        assert distance(ours.to(dtype)(batch.to(dtype)), logits) <= tolerance
        assert distance(ours.features(batch.to(dtype)), embeddings) <= tolerance

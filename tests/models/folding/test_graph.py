"""Folded graphs: frozen, compared by identity (their tensors have no single truth value), and whole by default."""

import dataclasses

import pytest
import torch

from tessella.models.folding import graph
from tessella.models.folding.graph import FoldedViT, PixelNormalisation

CLASSES = (PixelNormalisation, graph.BlockWeights, graph.LastBlockWeights, FoldedViT, graph.FoldedTNT)


def test_graphs_cannot_be_changed_in_place() -> None:
    pixels = PixelNormalisation(torch.zeros(3), torch.ones(3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        pixels.folded = True  # type: ignore[misc]
    assert dataclasses.replace(pixels, folded=True).folded


@pytest.mark.parametrize("kind", CLASSES)
def test_graphs_are_compared_by_identity(kind: type) -> None:
    values = {field.name: torch.zeros(2) for field in dataclasses.fields(kind)}
    assert (kind(**values) == kind(**values)) is False


def test_nothing_is_folded_by_default() -> None:
    defaults = {field.name: field.default for kind in CLASSES for field in dataclasses.fields(kind)}
    assert (defaults["folded"], defaults["layer_norm_folded"]) == (False, False)

"""Position embeddings: the table of each kind, and a ViT without one being invariant to the order of patches."""

from typing import get_args

import pytest
import torch

from tessella.models.config import Position, ViTConfig
from tessella.models.networks.layers import patchify
from tessella.models.networks.position_embedding import PositionEmbedding
from tessella.models.networks.position_table import sincos_table
from tessella.models.networks.vit import ViT

SMALL = {"image_size": 16, "patch_size": 4, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64, "num_classes": 5}


def config(position: Position, **changes: object) -> ViTConfig:
    return ViTConfig(**{**SMALL, "position": position, **changes})  # type: ignore[arg-type]


def shuffled(images: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Images with their patches in another order."""
    patches = patchify(images, 4)[:, order]  # (B, 16, 4, 4, 3)
    rows = patches.unflatten(1, (4, 4)).permute(0, 5, 1, 3, 2, 4)
    return rows.flatten(4, 5).flatten(2, 3)


@pytest.mark.parametrize("position", get_args(Position))
def test_only_position_embeddings_make_patch_order_matter(position: Position) -> None:
    torch.manual_seed(0)
    network = ViT(config(position)).double().eval()
    for name, parameter in network.named_parameters():
        if "position" in name:
            torch.nn.init.normal_(parameter)
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    order = torch.randperm(16)
    with torch.no_grad():
        difference = (network(shuffled(images, order)) - network(images)).abs().max()
    assert (difference < 1e-12) == (position == "none"), difference


def test_a_learned_table_is_added_row_by_row() -> None:
    positions = PositionEmbedding(config("learned"))
    tokens = torch.randn(2, 17, 32)
    assert torch.equal(positions(tokens), tokens + positions.weight)


def test_prefix_tokens_without_a_row_are_unchanged() -> None:
    positions = PositionEmbedding(config("learned", position_prefix=False, register_tokens=3))
    assert positions.weight.shape == (16, 32)
    tokens = torch.randn(2, 20, 32)
    added = positions(tokens) - tokens
    assert torch.equal(added[:, :4], torch.zeros(2, 4, 32))
    assert torch.allclose(added[0, 4:], positions.weight, atol=1e-6)


def test_factorised_is_half_row_half_column() -> None:
    positions = PositionEmbedding(config("factorised"))
    table = positions.table()
    assert table.shape == (17, 32)
    assert torch.equal(table[0], positions.prefix[0])
    for row in range(4):
        for column in range(4):
            expected = torch.cat([positions.row[row], positions.column[column]])
            assert torch.equal(table[1 + 4 * row + column], expected)


def test_sincos_is_not_trained() -> None:
    positions = PositionEmbedding(config("sincos"))
    assert not list(positions.parameters())
    assert not positions.state_dict()
    assert torch.equal(positions.table()[0], torch.zeros(32))
    assert torch.equal(positions.table()[1:], torch.from_numpy(sincos_table(4, 32)))

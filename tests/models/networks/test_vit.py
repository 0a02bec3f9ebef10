"""Plain ViT: pooling, heads and prefix tokens against their definitions."""

from typing import Any

import pytest
import torch

from tessella.models.config import ViTConfig
from tessella.models.networks.vit import PatchEmbedding, ViT


def network(**changes: Any) -> ViT:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"image_size": 16, "patch_size": 8, "dim": 12, "depth": 1, "heads": 3, "mlp_dim": 24}
    return ViT(ViTConfig(**sizes | {"num_classes": 5} | changes)).double().eval()


IMAGES = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_patches_are_projected_in_row_major_order() -> None:
    embedding = PatchEmbedding(8, 12).double()
    pixels = IMAGES[1, :, 8:, :8].permute(1, 2, 0).flatten()
    assert torch.allclose(embedding(IMAGES)[1, 2], embedding.projection(pixels))


@pytest.mark.parametrize("prefix", [{}, {"register_tokens": 3}, {"class_token": False, "pooling": "mean"}])
def test_prefix_tokens_come_first(prefix: dict[str, Any]) -> None:
    vit = network(**prefix)
    assert vit.encode(IMAGES).shape == (2, vit.config.prefix_tokens + 4, 12)


def test_token_pooling_reads_the_class_token() -> None:
    vit = network(register_tokens=2)
    assert torch.equal(vit.features(IMAGES), vit.encode(IMAGES)[:, 0])
    assert torch.equal(vit.pooled(IMAGES, "cls"), vit.features(IMAGES))


def test_mean_pooling_leaves_out_prefix_tokens() -> None:
    vit = network(pooling="mean", register_tokens=2)
    assert torch.equal(vit.features(IMAGES), vit.encode(IMAGES)[:, 3:].mean(dim=1))


def test_a_norm_after_pooling_acts_on_the_mean() -> None:
    vit = network(pooling="mean", norm_after_pooling=True)
    vit.norm.bias.data.fill_(3.0)
    mean = vit.encode(IMAGES)[:, 1:].mean(dim=1)
    assert torch.equal(vit.features(IMAGES), vit.norm(mean))
    assert torch.equal(vit.pooled(IMAGES, "mean"), vit.norm(mean))


def test_token_mean_pooling_concatenates_both() -> None:
    vit = network(pooling="token_mean")
    tokens = vit.encode(IMAGES)
    assert torch.equal(vit.features(IMAGES), torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1))
    assert vit(IMAGES).shape == (2, 5)


def test_two_heads_are_averaged() -> None:
    vit = network(distillation_token=True)
    tokens = vit.encode(IMAGES)
    assert torch.allclose(vit(IMAGES), (vit.head(tokens[:, 0]) + vit.distillation_head(tokens[:, 1])) / 2)
    assert torch.allclose(vit.features(IMAGES), tokens[:, :2].mean(dim=1))


def test_without_a_head_the_output_is_the_features() -> None:
    vit = network(num_classes=0)
    assert torch.equal(vit(IMAGES), vit.features(IMAGES))

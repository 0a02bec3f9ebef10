"""Network configurations: derived sizes, and rejection of sizes and poolings that make no network."""

from typing import Any

import pytest

from tessella.models.config import TNTConfig, ViTConfig


def test_token_counts_of_a_vit() -> None:
    config = ViTConfig(image_size=384, patch_size=16, distillation_token=True, register_tokens=4)
    assert (config.grid, config.prefix_tokens, config.tokens) == (24, 6, 6 + 24 * 24)
    without_prefix = ViTConfig(class_token=False, pooling="mean")
    assert (without_prefix.prefix_tokens, without_prefix.tokens) == (0, 14 * 14)


def test_token_counts_of_a_tnt() -> None:
    config = TNTConfig(image_size=64, patch_size=16, sub_patch_size=4)
    assert (config.grid, config.words, config.tokens) == (4, 16, 17)


def test_the_head_reads_one_vector_or_two() -> None:
    assert ViTConfig(dim=192, heads=3).feature_dim == 192
    assert ViTConfig(dim=192, heads=3, pooling="token_mean").feature_dim == 384
    assert TNTConfig(dim=384).feature_dim == 384


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 225}, r"patch_size \(16\) must be positive and divide image_size \(225\)"),
        ({"patch_size": 0}, r"patch_size \(0\) must be positive"),
        ({"heads": 5}, r"heads \(5\) must be positive and divide dim \(768\)"),
        ({"class_token": False}, "pooling='token' reads the class token"),
        ({"class_token": False, "pooling": "token_mean"}, "pooling='token_mean' reads the class token"),
        ({"pooling": "token_mean", "norm_after_pooling": True}, "norm_after_pooling must be False"),
        ({"distillation_token": True, "pooling": "mean"}, "distillation token needs class_token=True"),
    ],
)
def test_inconsistent_vit_configurations_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViTConfig(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 7}, r"sub_patch_size \(4\) must be positive and divide patch_size \(7\)"),
        ({"patch_size": 15}, r"patch_size \(15\) must be positive and divide image_size \(224\)"),
        ({"sub_patch_size": 3}, r"sub_patch_size \(3\) must be positive and divide patch_size \(16\)"),
        ({"heads": 5}, r"heads \(5\) must be positive and divide dim \(384\)"),
        ({"inner_heads": 5}, r"inner_heads \(5\) must be positive and divide inner_dim \(24\)"),
    ],
)
def test_inconsistent_tnt_configurations_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TNTConfig(**arguments)

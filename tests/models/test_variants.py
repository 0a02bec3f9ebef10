"""Published architectures: names agree with their configurations, and look-up ignores pretraining tags."""

import re

import pytest

from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.variants import VARIANTS, find_variant


@pytest.mark.parametrize("name", VARIANTS)
def test_the_name_gives_the_patch_and_image_size(name: str) -> None:
    config = VARIANTS[name]
    if match := re.search(r"_patch(\d+)_", name):
        assert config.patch_size == int(match[1])
    if match := re.search(r"_(\d{3})(?:_miil)?$", name):
        assert config.image_size == int(match[1])
    assert isinstance(config, TNTConfig if name.startswith("tnt") else ViTConfig)


@pytest.mark.parametrize("name", [name for name in VARIANTS if "distilled" in name or re.search(r"reg\d", name)])
def test_the_name_gives_the_prefix_tokens(name: str) -> None:
    config = VARIANTS[name]
    assert isinstance(config, ViTConfig)
    registers = re.search(r"reg(\d)", name)
    assert config.register_tokens == (int(registers[1]) if registers else 0)
    assert config.distillation_token == ("distilled" in name)
    assert config.class_token == ("_gap_" not in name)


def test_a_pretraining_tag_is_ignored() -> None:
    assert find_variant("vit_tiny_patch16_224.augreg_in21k_ft_in1k") is VARIANTS["vit_tiny_patch16_224"]
    assert find_variant("vit_tiny_patch16_225") is None
    assert find_variant("") is None

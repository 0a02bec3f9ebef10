"""Augmentation: shapes, reproducibility, and the effect of each setting."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from tessella.models.zoo.training.augment import Augmentation, augment

from ....support.training_set import few

ALL = Augmentation()


def drawn(augmentation: Augmentation = ALL, seed: int = 0, count: int = 128) -> Tensor:
    material, generator = few(), Generator().manual_seed(seed)
    rows = torch.arange(count) % len(material.labels)
    return augment(material.plain, material.ink, rows, 24, augmentation, generator)


def background(images: Tensor) -> Tensor:
    """Mean of each image's upper and lower edge, 0..255."""
    return images.float().mean(dim=3)[:, [0, -1]].flatten(1).mean(dim=1)


def test_images_are_uint8_of_the_requested_size() -> None:
    images = drawn()
    assert (images.shape, images.dtype) == ((128, 24, 24, 3), torch.uint8)
    assert images.float().std(dim=(1, 2, 3)).min() > 2, "an empty image"


def test_a_seed_reproduces_its_images_and_another_does_not() -> None:
    assert torch.equal(drawn(seed=3), drawn(seed=3))
    assert not torch.equal(drawn(seed=3), drawn(seed=4))


def test_dark_on_light_and_light_on_dark_are_equally_likely() -> None:
    light = (background(drawn(replace(ALL, photographs=0.0), count=400)) > 127).float().mean()
    assert 0.4 < light < 0.6
    never = replace(ALL, photographs=0.0, plain=0.0, strokes=1.0, inverted=0.0, height=(0.4, 0.5))
    assert (background(drawn(never)) < 127).float().mean() > 0.9, "the rest is on coloured screens"


def test_plain_images_are_unchanged() -> None:
    images = drawn(replace(ALL, plain=1.0, inverted=0.0))
    unchanged = few().plain[torch.arange(128) % len(few().labels), :, :, None].expand(-1, -1, -1, 3)
    on_black = (images == unchanged).flatten(1).all(dim=1)
    assert on_black.float().mean() > 0.6, "the rest is drawn in other colours"


def test_training_starts_with_plain_images() -> None:
    start = ALL.eased(0.0)
    assert (start.plain, start.inverted, start.photographs) == (1.0, 0.0, 0.0)
    assert ALL.eased(1.0).plain == pytest.approx(ALL.plain)
    assert ALL.eased(1.0).height == pytest.approx(ALL.height)
    assert replace(ALL.eased(1.0), plain=ALL.plain, height=ALL.height) == ALL


@pytest.mark.parametrize("width", [(5.0, 5.0), (26.0, 26.0)])
def test_a_pen_has_the_requested_width(width: tuple[float, float]) -> None:
    """Ink area over the length of the digit's lines, compared with the requested width."""
    augmentation = replace(ALL, plain=0.0, strokes=1.0, inverted=0.0, photographs=0.0, pen=width, height=(0.8, 0.8))
    ink = (drawn(augmentation).float().mean(dim=3) / 255).sum(dim=(1, 2)).median().item()
    lines = 2.2 * 0.8 * 24
    assert 0.5 < ink / (lines * width[0] / 280 * 24) < 1.6

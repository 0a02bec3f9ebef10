"""Plain TNT: words attend within their patch, each option of the paper has its effect, sizes are checked."""

import pytest
import torch

from tessella.models.config import TNTConfig
from tessella.models.networks.layers import patchify
from tessella.models.networks.tnt import TNT, SubPatchEmbedding

SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "sub_patch_size": 2,
    "dim": 32,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 64,
    "inner_dim": 8,
    "inner_heads": 2,
    "inner_mlp_dim": 32,
    "num_classes": 5,
}


def config(**changes: object) -> TNTConfig:
    return TNTConfig(**{**SMALL, "sub_patch_embedding": "linear", **changes})  # type: ignore[arg-type]


def test_the_papers_words_are_projected_pixels() -> None:
    embedding = SubPatchEmbedding(config())
    images = torch.randn(2, 3, 32, 32)
    words = embedding(images)
    assert words.shape == (2 * 16, 16, 8)
    # patch 6 is at row 1, column 2; its word 9 at row 2, column 1
    pixels = images[1, :, 8 + 4 : 8 + 6, 16 + 2 : 16 + 4].permute(1, 2, 0).flatten()
    assert torch.allclose(words[16 + 6, 9], embedding.projection(pixels), atol=1e-6)


@pytest.mark.parametrize(("form", "spills"), [("linear", False), ("convolution", False), ("image_convolution", True)])
def test_only_the_convolution_over_the_image_reads_other_patches(form: str, spills: bool) -> None:
    embedding = SubPatchEmbedding(config(sub_patch_embedding=form))
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, 8:16, 8:16] = 0  # patch 5
    difference = (embedding(changed) - embedding(images)).abs().amax(dim=(1, 2))
    assert difference[5] > 0
    assert bool(difference[[0, 1, 2, 4, 6, 8, 9, 10]].any()) == spills
    assert not difference[[3, 7, 11, 12, 13, 14, 15]].any()


@pytest.mark.parametrize("outer_position", [True, False])
def test_only_outer_positions_make_patch_order_matter(outer_position: bool) -> None:
    torch.manual_seed(0)
    network = TNT(config(outer_position=outer_position)).double().eval()
    if network.outer_position is not None:
        torch.nn.init.normal_(network.outer_position)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    order = torch.randperm(16)
    rows = patchify(images, 8)[:, order].unflatten(1, (4, 4)).permute(0, 5, 1, 3, 2, 4)
    with torch.no_grad():
        difference = (network(rows.flatten(4, 5).flatten(2, 3)) - network(images)).abs().max()
    assert (difference > 1e-12) == outer_position


def test_inner_positions_are_added_to_every_patchs_words() -> None:
    torch.manual_seed(0)
    network = TNT(config()).double().eval()
    assert network.inner_position is not None
    without = TNT(config(inner_position=False)).double().eval()
    assert without.inner_position is None
    weights = {name: value for name, value in network.state_dict().items() if name != "inner_position"}
    without.load_state_dict(weights)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert (network(images) - without(images)).abs().max() > 1e-6
        network.inner_position.zero_()
        assert torch.equal(network(images), without(images))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"patch_size": 7}, "patch_size"),
        ({"sub_patch_size": 3}, "sub_patch_size"),
        ({"heads": 3}, "heads"),
        ({"inner_heads": 3}, "inner_heads"),
    ],
)
def test_sizes_that_do_not_divide_are_named(changes: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        config(**changes)

"""Lowering: rounded weights with row sums and pixel shift to match, and the mask of pixels inside the image."""

from typing import Any

import pytest
import torch

from tessella.kernels.weights import InnerEmbedWeights, LinearWeights
from tessella.models.config import ViTConfig
from tessella.models.folding.fold_vit import fold_vit
from tessella.models.folding.lower import Lowering, image_mask
from tessella.models.networks.vit import ViT

from ...support.folding import MEAN, MEANS, STD, perturbed

SMALL = ViTConfig(image_size=32, patch_size=8, dim=24, depth=3, heads=3, mlp_dim=64, num_classes=7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_weights_give_the_row_sums_and_the_pixel_shift(dtype: torch.dtype) -> None:
    network = perturbed(ViT, SMALL)
    exact = fold_vit(network, MEAN, STD, dtype=torch.float64)
    graph = fold_vit(network, MEAN, STD, dtype=dtype)
    qkv = graph.blocks[0].qkv
    assert qkv.weight.dtype == dtype
    assert qkv.bias is not None
    assert qkv.sums is not None
    assert qkv.bias.dtype == torch.float32
    torch.testing.assert_close(qkv.sums, qkv.weight.double().sum(dim=1).float())
    grey = MEANS.repeat(64) * 255
    rounded = graph.patches.table[1:].double() + graph.patches.weight.double() @ grey
    torch.testing.assert_close(rounded, exact.patches.table[1:] + exact.patches.weight @ grey, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "vectors"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_matrices_and_vectors_get_their_dtypes(dtype: torch.dtype, vectors: torch.dtype) -> None:
    layer = LinearWeights(torch.randn(4, 3, dtype=torch.float64).T, torch.randn(3, dtype=torch.float64))
    lowered = Lowering(dtype, torch.device("cpu")).linear(layer)
    assert lowered.bias is not None
    assert (lowered.weight.dtype, lowered.bias.dtype) == (dtype, vectors)
    assert lowered.weight.is_contiguous()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"patch_size": 2, "margin": 0, "window": 2}, [[[1, 1]], [[1, 1]]]),
        ({"patch_size": 2, "margin": 1, "window": 4}, [[[0, 1, 1, 1]], [[1, 1, 1, 0]]]),
    ],
    ids=["each patch alone", "with a margin"],
)
def test_the_image_mask_leaves_out_padding(size: dict[str, Any], expected: list[list[list[int]]]) -> None:
    empty = torch.empty(0)
    mask = image_mask(InnerEmbedWeights(empty, empty, **size), 2)
    along = torch.tensor(expected, dtype=torch.float64).flatten(1)  # (grid, window)
    for patch in range(4):
        row, column = divmod(patch, 2)
        assert torch.equal(mask[patch, :, 0].unflatten(0, (size["window"],) * 2), along[row][:, None] * along[column])

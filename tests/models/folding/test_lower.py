"""Lowering: rounded weights with row sums and pixel shift to match, and the mask of pixels inside the image."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tessella.kernels.weights import InnerEmbedWeights, LinearWeights
from tessella.models.config import ViTConfig
from tessella.models.execution.folded_tensors import array_of, fold_network, tensor_of
from tessella.models.folding.lower import DTYPES, Lowering, image_mask, round_to
from tessella.models.networks.vit import ViT

from ...support.folding import MEAN, MEANS, STD, perturbed

SMALL = ViTConfig(image_size=32, patch_size=8, dim=24, depth=3, heads=3, mlp_dim=64, num_classes=7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_weights_give_the_row_sums_and_the_pixel_shift(dtype: torch.dtype) -> None:
    network = perturbed(ViT, SMALL)
    exact = fold_network(network, MEAN, STD, dtype=torch.float64)
    graph = fold_network(network, MEAN, STD, dtype=dtype)
    qkv = graph.blocks[0].qkv
    assert qkv.weight.dtype == dtype
    assert qkv.bias is not None
    assert qkv.sums is not None
    assert qkv.bias.dtype == torch.float32
    torch.testing.assert_close(qkv.sums, qkv.weight.double().sum(dim=1).float())
    grey = MEANS.repeat(64) * 255
    rounded = graph.patches.table[1:].double() + graph.patches.weight.double() @ grey
    torch.testing.assert_close(rounded, exact.patches.table[1:] + exact.patches.weight @ grey, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "matrices", "vectors"),
    [("bfloat16", ml_dtypes.bfloat16, np.float32), ("float64", np.float64, np.float64)],
)
def test_matrices_and_vectors_get_their_dtypes(dtype: str, matrices: type, vectors: type) -> None:
    layer = LinearWeights(np.ones((4, 3)).T, np.ones(3))
    lowered = Lowering(dtype).linear(layer)
    assert lowered.bias is not None
    assert (lowered.weight.dtype, lowered.bias.dtype) == (np.dtype(matrices), np.dtype(vectors))
    assert lowered.weight.flags.c_contiguous


def float64_values() -> torch.Tensor:
    """Normal values of every magnitude, ties of both 16-bit types, values just beside them, and the limits."""
    torch.manual_seed(0)
    spread = torch.randn(100_000, dtype=torch.float64) * 10.0 ** torch.randint(-48, 39, (100_000,))
    halves = torch.randint(0, 2**16, (20_000,), dtype=torch.int32)
    bfloat16 = (halves.bitwise_left_shift(16) + 2**15).view(torch.float32).double()
    float16 = torch.arange(2**11, dtype=torch.float64).add(0.5) * 2.0 ** torch.arange(-26, 6)[:, None]
    ties = torch.cat([bfloat16[bfloat16.isfinite()], float16.flatten()])
    beside = torch.cat([ties * (1 + step) for step in (0, 1e-9, -1e-9, 1e-15, -1e-15)])
    limits = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 65504, 65519.99, 65520, 3.4e38, 1e300, 5e-324])
    return torch.cat([spread, beside, limits.double()])


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_bit_identical_to_torch(dtype: str) -> None:
    values = float64_values()
    expected = array_of(values.to(getattr(torch, dtype)))
    with np.errstate(over="ignore"):
        rounded = round_to(array_of(values), dtype)
    assert rounded.dtype == expected.dtype == DTYPES[dtype]
    assert rounded.tobytes() == expected.tobytes()
    assert tensor_of(round_to(np.array([np.nan]), dtype)).isnan().all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"patch_size": 2, "margin": 0, "window": 2}, [[[1, 1]], [[1, 1]]]),
        ({"patch_size": 2, "margin": 1, "window": 4}, [[[0, 1, 1, 1]], [[1, 1, 1, 0]]]),
    ],
    ids=["each patch alone", "with a margin"],
)
def test_the_image_mask_leaves_out_padding(size: dict[str, Any], expected: list[list[list[int]]]) -> None:
    empty = np.empty(0)
    mask = torch.from_numpy(image_mask(InnerEmbedWeights(empty, empty, **size), 2))
    along = torch.tensor(expected, dtype=torch.float64).flatten(1)  # (grid, window)
    for patch in range(4):
        row, column = divmod(patch, 2)
        assert torch.equal(mask[patch, :, 0].unflatten(0, (size["window"],) * 2), along[row][:, None] * along[column])

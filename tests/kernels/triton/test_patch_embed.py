"""`patch_embed` in Triton's interpreter against float64: patch sizes, prefixes, odd grids, row statistics."""

import pytest
import torch

from tessella.kernels import ops, reference
from tessella.kernels.options import Options, Workspace
from tessella.kernels.weights import PatchWeights

from ...support.operators import TORCH, TRITON


def case(
    patch: int, prefix: int, rows: int, columns: int, dim: int, dtype: torch.dtype
) -> tuple[torch.Tensor, PatchWeights]:
    pixels = torch.randint(0, 256, (3, rows * patch, columns * patch, 3), dtype=torch.uint8)
    weight = torch.randn(dim, 3 * patch**2).to(dtype) / 500
    return pixels, PatchWeights(weight, torch.randn(prefix + rows * columns, dim), patch, prefix)


@pytest.mark.parametrize(
    ("patch", "prefix", "rows", "columns", "dim"),
    [(16, 1, 2, 2, 40), (14, 0, 3, 2, 24), (8, 2, 3, 5, 33), (4, 5, 1, 7, 64), (32, 1, 1, 1, 16)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_against_float64(patch: int, prefix: int, rows: int, columns: int, dim: int, dtype: torch.dtype) -> None:
    pixels, weights = case(patch, prefix, rows, columns, dim, dtype)
    result, statistics = ops.patch_embed(pixels, weights, return_statistics=True, options=TRITON)
    wide = PatchWeights(weights.weight.double(), weights.table.double(), patch, prefix)
    expected, _ = ops.patch_embed(pixels, wide, options=TORCH)
    assert result.shape == expected.shape
    assert (result - expected).abs().max() / expected.abs().max() < (2e-6 if dtype == torch.float32 else 1.5e-3)
    assert statistics is not None
    mean, _ = reference.mean_and_rstd(statistics, dim, 1e-6)
    torch.testing.assert_close(mean, result.float().mean(dim=2).flatten(), atol=1e-5, rtol=1e-5)


def test_every_element_is_written() -> None:
    pixels, weights = case(8, 1, 2, 3, 40, torch.float32)
    workspace = Workspace()
    workspace.get("patch_embed", (3, 7, 40), torch.float32, pixels.device).fill_(float("nan"))
    options = Options(implementation="triton", workspace=workspace)
    assert ops.patch_embed(pixels, weights, options=options)[0].isfinite().all()

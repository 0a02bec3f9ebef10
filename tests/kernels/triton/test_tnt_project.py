"""`tnt_project` in Triton's interpreter against float64."""

import pytest
import torch

from tessella.kernels import tnt_ops
from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.weights import InnerProjectionWeights

from ...support.operators import TORCH, TRITON, error

TOLERANCE = {torch.float32: 5e-6, torch.float16: 5e-3}


def random_weights(groups: int, columns: int, depth: int, dtype: torch.dtype) -> InnerProjectionWeights:
    weight = (torch.randn(groups, columns, depth) / depth**0.5).to(dtype)
    return InnerProjectionWeights(weight, torch.randn(groups, columns))


@pytest.mark.parametrize(("groups", "rows", "columns", "depth"), [(3, 1, 24, 16), (2, 37, 40, 48), (4, 33, 96, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tnt_project(groups: int, rows: int, columns: int, depth: int, dtype: torch.dtype) -> None:
    x, weights = torch.randn(groups, rows, depth).to(dtype), random_weights(groups, columns, depth, dtype)
    wide = InnerProjectionWeights(weights.weight.double(), weights.bias.double())
    result = tnt_ops.tnt_project(x, weights, options=TRITON)
    assert error(result, tnt_ops.tnt_project(x.double(), wide, options=TORCH)) < TOLERANCE[dtype]


def test_gpus_without_tma_load_tiles_by_pointers() -> None:
    x, weights = torch.randn(2, 37, 48), random_weights(2, 40, 48, torch.float32)
    with assume_gpu(Gpu("NVIDIA A100", 80, 108)):
        result = tnt_ops.tnt_project(x, weights, options=TRITON)
    assert error(result, tnt_ops.tnt_project(x, weights, options=TORCH)) < 5e-6

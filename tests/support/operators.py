"""Options and error measure for tests of operators."""

import torch
from torch import Tensor

from tessella.kernels.options import Options
from tessella.kernels.weights import InnerWeights

TRITON, TORCH = Options(implementation="triton"), Options(implementation="torch")


def error(result: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected value; shapes must agree."""
    assert result.shape == expected.shape
    return ((result.double() - expected).abs().max() / expected.abs().max()).item()


def random_inner_weights(
    dim: int, heads: int, hidden: int, *, depth: int = 2, per_token: bool = False, dtype: torch.dtype = torch.float32
) -> InnerWeights:
    """Random weights of a TNT's inner blocks, of a trained network's scale."""

    def matrix(rows: int, columns: int) -> Tensor:
        return (torch.randn(depth, rows, columns) / columns**0.5).to(dtype)

    return InnerWeights(
        qkv=matrix(3 * dim, dim),
        query_bias=torch.randn(depth, dim),
        projection=matrix(dim, dim),
        projection_bias=torch.randn(depth, dim),
        expand=matrix(hidden, dim),
        expand_bias=torch.randn(depth, hidden),
        contract=matrix(dim, hidden),
        contract_bias=torch.randn(depth, dim),
        heads=heads,
        eps=1e-5,
        per_token=per_token,
    )

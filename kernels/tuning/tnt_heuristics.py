"""Launch configurations of TNT's kernels, by table or by heuristic. No triton."""

import torch

from ..device import Gpu, gpu_of
from . import heuristics, tables
from .heuristics import LaunchConfig


def tnt_inner(
    patches: int,
    dim: int,
    inner_tokens: int,
    dtype: torch.dtype,
    device: torch.device,
    batch_invariant: bool = False,
) -> LaunchConfig:
    """Launch configuration of the inner blocks, `block_m` patches per program.

    Args:
        patches: of all images.
        dim: channels of an inner token.
        inner_tokens: per patch.
        dtype: of the weights.
    """
    gpu = gpu_of(device)
    if gpu.arch == 0:
        return LaunchConfig(2, 0, num_stages=1)
    measured = tables.lookup(gpu, "tnt_inner", patches, dim, inner_tokens, dtype, "none")
    if measured is not None and not batch_invariant:
        return LaunchConfig(**measured)
    block_m = max(1, (64 if dtype.itemsize <= 2 else 16) // inner_tokens)
    while block_m > 1 and not batch_invariant and patches < gpu.sms * block_m:
        block_m //= 2
    return LaunchConfig(block_m, 0, num_warps=4, num_stages=1)


def candidates(operator: str, gpu: Gpu, rows: int, columns: int, depth: int) -> list[LaunchConfig]:
    """Candidates that `tessella tune` measures for a shape of `tnt_inner` or `tnt_project`.

    For `tnt_inner` rows are patches, columns the channels of an inner token, and the depth is the number of inner
    tokens per patch.
    """
    if operator == "tnt_inner":
        pairs = ((m, warps) for m in (1, 2, 4, 8) for warps in (1, 2, 4, 8) if m <= 2 * warps <= 8 * m)
        return [LaunchConfig(m, 0, num_warps=warps, num_stages=1) for m, warps in pairs]
    configs = heuristics.candidates("linear", gpu, rows, columns, depth)
    return [config for config in configs if config.split_k == 1 and not config.pdl]


def tnt_project(
    groups: int, rows: int, columns: int, depth: int, dtype: torch.dtype, device: torch.device, batch_invariant: bool
) -> LaunchConfig:
    """Launch configuration of the grouped GEMM: that of one GEMM with as many rows, without split-K."""
    measured = tables.lookup(gpu_of(device), "tnt_project", rows, columns, depth, dtype, "none")
    if measured is not None and not batch_invariant:
        return LaunchConfig(**measured)
    config = heuristics.linear(groups * rows, columns, depth, dtype, device, batch_invariant)
    return LaunchConfig(config.block_m, config.block_n, config.block_k, config.num_warps, config.num_stages)

"""Launch configurations of TNT's kernels. No triton here."""

import torch

from ..device import Gpu, gpu_of
from . import heuristics, tables
from .heuristics import LaunchConfig


def tnt_inner(
    patches: int, dim: int, words: int, dtype: torch.dtype, device: torch.device, batch_invariant: bool = False
) -> LaunchConfig:
    """For the inner blocks: `block_m` patches a program."""
    gpu = gpu_of(device)
    if gpu.arch == 0:
        return LaunchConfig(2, 0, num_stages=1)
    measured = tables.lookup(gpu, "tnt_inner", patches, dim, words, dtype, "none")
    if measured is not None and not batch_invariant:
        return LaunchConfig(**measured)
    most = max(1, (64 if dtype.itemsize <= 2 else 16) // words)
    while most > 1 and not batch_invariant and patches < gpu.sms * most:
        most //= 2
    return LaunchConfig(most, 0, num_warps=4, num_stages=1)


def candidates(operator: str, gpu: Gpu, rows: int, columns: int, depth: int) -> list[LaunchConfig]:
    """What `tessella tune` tries for a shape; the key's columns and depth are a word's width and a patch's words for
    `tnt_inner`.
    """
    if operator == "tnt_inner":
        pairs = ((most, warps) for most in (1, 2, 4, 8) for warps in (1, 2, 4, 8) if most <= 2 * warps <= 8 * most)
        return [LaunchConfig(most, 0, num_warps=warps, num_stages=1) for most, warps in pairs]
    found = heuristics.candidates("linear", gpu, rows, columns, depth)
    return [tile for tile in found if tile.split_k == 1 and not tile.pdl]


def tnt_project(
    groups: int, rows: int, columns: int, depth: int, dtype: torch.dtype, device: torch.device, batch_invariant: bool
) -> LaunchConfig:
    """For the products of all blocks' rows: as for one product with as many rows, its depth never split."""
    measured = tables.lookup(gpu_of(device), "tnt_project", rows, columns, depth, dtype, "none")
    if measured is not None and not batch_invariant:
        return LaunchConfig(**measured)
    tile = heuristics.linear(groups * rows, columns, depth, dtype, device, batch_invariant)
    return LaunchConfig(tile.block_m, tile.block_n, tile.block_k, tile.num_warps, tile.num_stages)

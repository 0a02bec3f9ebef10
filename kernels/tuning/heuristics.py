"""Launch configurations: measured ones from a GPU's table where it has them, a heuristic otherwise. No triton here."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from ..device import Gpu, gpu_of
from . import tables


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """How one kernel is launched. Fields that a kernel does not have are left as they are.

    Attributes:
        block_m, block_n, block_k: of the product's rows, columns and depth in one step.
        warps, stages: of the program, and of its software pipeline.
        splits: programs that share one tile's depth; 1 is the persistent form.
        group_m: tiles of rows that run together, so that they find the weights in L2.
        pdl: start while the kernel before still runs (sm_90 and newer).
    """

    block_m: int
    block_n: int
    block_k: int = 64
    num_warps: int = 4
    num_stages: int = 3
    split_k: int = 1
    group_m: int = 8
    pdl: bool = False

    def shared_memory(self, itemsize: int) -> int:
        """Bytes of the pipeline's tiles, and of the result's with its residual on their way out."""
        pipeline = self.num_stages * (self.block_m + self.block_n) * self.block_k * itemsize
        return pipeline + self.block_m * self.block_n * itemsize * 3 // 2


_WIDEST = LaunchConfig(128, 256, 64, num_warps=8, num_stages=3)
"""Left to measurement: it spills registers where the epilogue is rich."""
_HALF = (
    LaunchConfig(128, 128, 64, num_warps=8, num_stages=3),
    LaunchConfig(64, 128, 64, num_warps=4, num_stages=4),
    LaunchConfig(64, 64, 64, num_warps=4, num_stages=4),
    LaunchConfig(32, 64, 64, num_warps=4, num_stages=4),
    LaunchConfig(16, 64, 128, num_warps=4, num_stages=4),
)
_FLOAT = (LaunchConfig(32, 64, 32, num_warps=8, num_stages=2),)
"""float32 is not tuned: tests run the kernels in it, and a GPU takes PyTorch's products."""
WARPGROUP_ARCHS = (90, 100, 103)
"""Whose matrix units take operands from shared memory."""
_INTERPRETED = LaunchConfig(32, 32, 32, num_stages=1)
_RATE = {(128, 256): 1.0, (128, 128): 0.9, (64, 128): 0.72, (64, 64): 0.5, (32, 64): 0.3, (16, 64): 0.16}
"""Share of the matrix units' rate that a tile reaches when all multiprocessors have one (kernels.md, wave buckets)."""


def linear(
    rows: int,
    columns: int,
    depth: int,
    dtype: torch.dtype,
    device: torch.device,
    batch_invariant: bool = False,
    activation: str = "none",
) -> LaunchConfig:
    """For `linear` of (rows, depth) with (columns, depth)."""
    gpu = gpu_of(device)
    if batch_invariant:
        return _batch_invariant(gpu, columns, dtype.itemsize)
    measured = tables.lookup(gpu, "linear", rows, columns, depth, dtype, activation)
    return LaunchConfig(**measured) if measured is not None else _linear(gpu, rows, columns, depth, dtype.itemsize)


def patch_embed(
    rows: int, columns: int, dtype: torch.dtype, device: torch.device, batch_invariant: bool = False
) -> LaunchConfig:
    """For `patch_embed` of as many tokens. Pixels are gathered, so its tiles are small."""
    gpu = gpu_of(device)
    if gpu.arch == 0:
        return _INTERPRETED
    if dtype.itemsize > 2:
        return LaunchConfig(32, 64, 32, num_warps=4, num_stages=2)
    few = rows <= 2048 and not batch_invariant
    return LaunchConfig(
        32 if few else 128, 64 if few or columns < 128 else 128, 64, num_warps=4 if few else 8, num_stages=2
    )


def attention(tokens: int, width: int, dtype: torch.dtype, device: torch.device) -> LaunchConfig:
    """For `attention`: `block_n` covers all keys where a single pass is taken. It never depends on the batch."""
    gpu = gpu_of(device)
    if gpu.arch == 0:
        return LaunchConfig(16, 32 if tokens <= 32 else 64, num_stages=1)
    measured = tables.lookup(gpu, "attention", tokens, width, 0, dtype, "none")
    return LaunchConfig(**measured) if measured is not None else _attention(gpu, tokens, width, dtype.itemsize)


def small(dtype: torch.dtype, device: torch.device) -> LaunchConfig:
    """For the operators around the last block and the pooling: little arithmetic, so one tile for all shapes."""
    if gpu_of(device).arch == 0:
        return LaunchConfig(16, 16, 32, num_stages=1)
    return (
        LaunchConfig(16, 64, 64, num_warps=4, num_stages=3)
        if dtype.itemsize <= 2
        else LaunchConfig(16, 32, 32, num_warps=4, num_stages=2)
    )


def candidates(operator: str, gpu: Gpu, rows: int, columns: int, depth: int) -> list[LaunchConfig]:
    """Tiles that `tessella tune` tries for a shape in bfloat16 or float16; all of them fit the GPU's shared memory."""
    if operator == "attention":
        padded = attention_keys(rows)
        single = [
            LaunchConfig(m, padded, num_warps=w, num_stages=s)
            for m in (64, 128)
            for w in (4, 8)
            for s in (1, 2)
            if padded <= 256
        ]
        return single + [
            LaunchConfig(m, n, num_warps=w, num_stages=s)
            for m in (64, 128)
            for n in (32, 64, 128)
            for w in (4, 8)
            for s in (2, 3)
        ]
    base = [replace(tile, num_stages=stages) for tile in (_WIDEST, *_HALF) for stages in (2, 3, 4, 5)]
    base += [
        replace(tile, split_k=splits)
        for tile in base[8:]
        for splits in (2, 4, 8)
        if rows <= 1024 and depth >= 128 * splits
    ]
    base = [tile for tile in base if _fits(tile, gpu, itemsize=2) and tile.block_m < 2 * max(rows, 16)]
    best = sorted(set(base), key=lambda tile: -_score(tile, gpu, rows, columns, depth))[:32]
    early = [replace(tile, pdl=True) for tile in best[:6] if gpu.arch >= 90]
    return best + early


@lru_cache(maxsize=4096)
def _linear(gpu: Gpu, rows: int, columns: int, depth: int, itemsize: int) -> LaunchConfig:
    if gpu.arch == 0:
        return replace(_INTERPRETED, split_k=2 if rows <= 8 and depth > 32 else 1)
    fitting = [_fitted(_relieved(tile, gpu), gpu, itemsize) for tile in (_HALF if itemsize <= 2 else _FLOAT)]
    fitting = [tile for tile in fitting if tile.block_m < 2 * max(rows, 16)] or fitting[-1:]
    best = max(fitting, key=lambda tile: _score(tile, gpu, rows, columns, depth))
    tiles = -(-rows // best.block_m) * -(-columns // best.block_n)
    splits = 1
    while splits < 8 and tiles * splits * 2 <= gpu.sms and depth // (splits * 2) >= 2 * best.block_k:
        splits *= 2
    return replace(best, split_k=splits)


def _batch_invariant(gpu: Gpu, columns: int, itemsize: int) -> LaunchConfig:
    """One tile for every number of rows: the order of additions over depth, and the parts of row statistics, stay."""
    if gpu.arch == 0:
        return _INTERPRETED
    tile = _HALF[0] if itemsize <= 2 else _FLOAT[0]
    return _fitted(tile if columns > 64 else replace(tile, block_n=64), gpu, itemsize)


def _attention(gpu: Gpu, tokens: int, width: int, itemsize: int) -> LaunchConfig:
    if itemsize > 2:
        return LaunchConfig(32, 32, num_warps=4, num_stages=1)
    if tokens <= 256 and width <= 64 and gpu.arch in WARPGROUP_ARCHS:  # elsewhere it spills registers
        return LaunchConfig(64, attention_keys(tokens), num_warps=4 if tokens <= 128 else 8, num_stages=1)
    return (
        LaunchConfig(64, 64, num_warps=4, num_stages=2)
        if width <= 128
        else LaunchConfig(64, 32, num_warps=8, num_stages=1)
    )


def _score(tile: LaunchConfig, gpu: Gpu, rows: int, columns: int, depth: int) -> float:
    """Useful share of the rate: how full the tiles and the waves are, times what such a tile reaches."""
    tiles = -(-rows // tile.block_m) * -(-columns // tile.block_n) * tile.split_k
    waves = -(-tiles // gpu.sms)
    full = rows * columns * tile.split_k / (waves * gpu.sms * tile.block_m * tile.block_n)
    rate = _RATE.get((tile.block_m, tile.block_n), tile.block_m * tile.block_n / 32768)
    return full * rate * (0.9 if tile.split_k > 1 else 1.0)


def _relieved(tile: LaunchConfig, gpu: Gpu) -> LaunchConfig:
    """More warps for a large tile where its sums lie in the registers of ordinary warps: neither wgmma nor tcgen05."""
    return (
        replace(tile, num_warps=8) if gpu.arch not in WARPGROUP_ARCHS and tile.block_m * tile.block_n >= 8192 else tile
    )


def _fitted(tile: LaunchConfig, gpu: Gpu, itemsize: int) -> LaunchConfig:
    while not _fits(tile, gpu, itemsize):
        tile = (
            replace(tile, num_stages=tile.num_stages - 1)
            if tile.num_stages > 2
            else replace(tile, block_n=tile.block_n // 2)
        )
    return tile


def _fits(tile: LaunchConfig, gpu: Gpu, itemsize: int) -> bool:
    return tile.shared_memory(itemsize) + 2048 <= gpu.shared_memory


def attention_keys(tokens: int) -> int:
    """The keys of a tile that holds all of them."""
    return next_power_of_two(max(tokens, 16))


def next_power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()

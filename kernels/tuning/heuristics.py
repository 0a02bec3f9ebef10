"""Launch configurations: measured ones from the GPU's table where it has them, else by a heuristic. No triton.

Shapes are (rows, depth) · (columns, depth)ᵀ: M, N and K of a GEMM.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from ..device import Gpu, gpu_of
from . import tables


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """Launch configuration of a kernel; fields that a kernel does not have keep their defaults.

    Attributes:
        block_m, block_n, block_k: tile of rows, columns and depth.
        num_warps: warps per program.
        num_stages: depth of the software pipeline.
        split_k: programs that share the depth of a tile; 1 is the persistent kernel.
        group_m: row tiles that run together, so that the weights they share stay in L2.
        pdl: programmatic dependent launch: start while the previous kernel still runs (sm_90 and newer).
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
        """Bytes for the pipeline's tiles, and for the output tile with its residual."""
        pipeline = self.num_stages * (self.block_m + self.block_n) * self.block_k * itemsize
        return pipeline + self.block_m * self.block_n * itemsize * 3 // 2


_WIDEST = LaunchConfig(128, 256, 64, num_warps=8, num_stages=3)
"""A candidate for tuning only: it spills registers with a large epilogue."""
_HALF_PRECISION = (
    LaunchConfig(128, 128, 64, num_warps=8, num_stages=3),
    LaunchConfig(64, 128, 64, num_warps=4, num_stages=4),
    LaunchConfig(64, 64, 64, num_warps=4, num_stages=4),
    LaunchConfig(32, 64, 64, num_warps=4, num_stages=4),
    LaunchConfig(16, 64, 128, num_warps=4, num_stages=4),
)
_FLOAT32 = (LaunchConfig(32, 64, 32, num_warps=8, num_stages=2),)
"""float32 is not tuned: only tests run the kernels in it, and on a GPU it runs in PyTorch."""
WARPGROUP_ARCHS = (90, 100, 103)
"""Architectures whose tensor cores read operands from shared memory."""
_INTERPRETED = LaunchConfig(32, 32, 32, num_stages=1)
_RATE = {(128, 256): 1.0, (128, 128): 0.9, (64, 128): 0.72, (64, 64): 0.5, (32, 64): 0.3, (16, 64): 0.16}
"""Fraction of the tensor cores' peak rate that a tile size reaches when every multiprocessor has one."""


def linear(
    rows: int,
    columns: int,
    depth: int,
    dtype: torch.dtype,
    device: torch.device,
    batch_invariant: bool = False,
    activation: str = "none",
) -> LaunchConfig:
    """Launch configuration of `linear`."""
    gpu = gpu_of(device)
    if batch_invariant:
        return _batch_invariant(gpu, columns, dtype.itemsize)
    measured = tables.lookup(gpu, "linear", rows, columns, depth, dtype, activation)
    return LaunchConfig(**measured) if measured is not None else _linear(gpu, rows, columns, depth, dtype.itemsize)


def patch_embed(
    rows: int, columns: int, dtype: torch.dtype, device: torch.device, batch_invariant: bool = False
) -> LaunchConfig:
    """Launch configuration of `patch_embed` and `tnt_embed` for `rows` tokens. Pixels are gathered: small tiles."""
    gpu = gpu_of(device)
    if gpu.arch == 0:
        return _INTERPRETED
    if dtype.itemsize > 2:
        return LaunchConfig(32, 64, 32, num_warps=4, num_stages=2)
    if rows <= 2048 and not batch_invariant:
        return LaunchConfig(32, 64, 64, num_warps=4, num_stages=2)
    return LaunchConfig(128, 64 if columns < 128 else 128, 64, num_warps=8, num_stages=2)


def attention(tokens: int, width: int, dtype: torch.dtype, device: torch.device) -> LaunchConfig:
    """Launch configuration of `attention`; `block_n` covers all keys in a single pass. Independent of the batch."""
    gpu = gpu_of(device)
    if gpu.arch == 0:
        return LaunchConfig(16, 32 if tokens <= 32 else 64, num_stages=1)
    measured = tables.lookup(gpu, "attention", tokens, width, 0, dtype, "none")
    return LaunchConfig(**measured) if measured is not None else _attention(gpu, tokens, width, dtype.itemsize)


def small(dtype: torch.dtype, device: torch.device) -> LaunchConfig:
    """Launch configuration of the small operators of the last block and the pooling, the same for all shapes."""
    if gpu_of(device).arch == 0:
        return LaunchConfig(16, 16, 32, num_stages=1)
    if dtype.itemsize > 2:
        return LaunchConfig(16, 32, 32, num_warps=4, num_stages=2)
    return LaunchConfig(16, 64, 64, num_warps=4, num_stages=3)


def candidates(operator: str, gpu: Gpu, rows: int, columns: int, depth: int) -> list[LaunchConfig]:
    """Candidates that `tessella tune` measures for a half-precision shape; all fit the GPU's shared memory."""
    if operator == "attention":
        return _attention_candidates(attention_keys(rows))
    configs = [replace(config, num_stages=stages) for config in (_WIDEST, *_HALF_PRECISION) for stages in (2, 3, 4, 5)]
    configs += [
        replace(config, split_k=split_k)
        for config in configs[8:]
        for split_k in (2, 4, 8)
        if rows <= 1024 and depth >= 128 * split_k
    ]
    configs = [config for config in configs if _fits(config, gpu, itemsize=2) and config.block_m < 2 * max(rows, 16)]
    best = sorted(set(configs), key=lambda config: -_score(config, gpu, rows, columns, depth))[:32]
    return best + [replace(config, pdl=True) for config in best[:6] if gpu.arch >= 90]


def _attention_candidates(keys: int) -> list[LaunchConfig]:
    single_pass = [
        LaunchConfig(m, keys, num_warps=warps, num_stages=stages)
        for m in (64, 128)
        for warps in (4, 8)
        for stages in (1, 2)
        if keys <= 256
    ]
    return single_pass + [
        LaunchConfig(m, n, num_warps=warps, num_stages=stages)
        for m in (64, 128)
        for n in (32, 64, 128)
        for warps in (4, 8)
        for stages in (2, 3)
    ]


@lru_cache(maxsize=4096)
def _linear(gpu: Gpu, rows: int, columns: int, depth: int, itemsize: int) -> LaunchConfig:
    if gpu.arch == 0:
        return replace(_INTERPRETED, split_k=2 if rows <= 8 and depth > 32 else 1)
    base = _HALF_PRECISION if itemsize <= 2 else _FLOAT32
    fitting = [_fitted(_with_more_warps(config, gpu), gpu, itemsize) for config in base]
    fitting = [config for config in fitting if config.block_m < 2 * max(rows, 16)] or fitting[-1:]
    best = max(fitting, key=lambda config: _score(config, gpu, rows, columns, depth))
    tiles = -(-rows // best.block_m) * -(-columns // best.block_n)
    split_k = 1
    while split_k < 8 and tiles * split_k * 2 <= gpu.sms and depth // (split_k * 2) >= 2 * best.block_k:
        split_k *= 2
    return replace(best, split_k=split_k)


def _batch_invariant(gpu: Gpu, columns: int, itemsize: int) -> LaunchConfig:
    """One configuration for any number of rows: fixes the order of summation, and the parts of row statistics."""
    if gpu.arch == 0:
        return _INTERPRETED
    config = _HALF_PRECISION[0] if itemsize <= 2 else _FLOAT32[0]
    return _fitted(config if columns > 64 else replace(config, block_n=64), gpu, itemsize)


def _attention(gpu: Gpu, tokens: int, width: int, itemsize: int) -> LaunchConfig:
    if itemsize > 2:
        return LaunchConfig(32, 32, num_warps=4, num_stages=1)
    if tokens <= 256 and width <= 64 and gpu.arch in WARPGROUP_ARCHS:  # elsewhere it spills registers
        return LaunchConfig(64, attention_keys(tokens), num_warps=4 if tokens <= 128 else 8, num_stages=1)
    if width > 128:
        return LaunchConfig(64, 32, num_warps=8, num_stages=1)
    return LaunchConfig(64, 64, num_warps=4, num_stages=2)


def _score(config: LaunchConfig, gpu: Gpu, rows: int, columns: int, depth: int) -> float:
    """Estimated fraction of the peak rate: utilisation of tiles and waves, times the rate of the tile size."""
    tiles = -(-rows // config.block_m) * -(-columns // config.block_n) * config.split_k
    waves = -(-tiles // gpu.sms)
    utilisation = rows * columns * config.split_k / (waves * gpu.sms * config.block_m * config.block_n)
    rate = _RATE.get((config.block_m, config.block_n), config.block_m * config.block_n / 32768)
    return utilisation * rate * (0.9 if config.split_k > 1 else 1.0)


def _with_more_warps(config: LaunchConfig, gpu: Gpu) -> LaunchConfig:
    """Eight warps for a large tile where accumulators lie in each warp's registers (no wgmma or tcgen05)."""
    large = config.block_m * config.block_n >= 8192
    return replace(config, num_warps=8) if large and gpu.arch not in WARPGROUP_ARCHS else config


def _fitted(config: LaunchConfig, gpu: Gpu, itemsize: int) -> LaunchConfig:
    """Fewer stages, then narrower tiles, until the configuration fits into shared memory."""
    while not _fits(config, gpu, itemsize):
        if config.num_stages > 2:
            config = replace(config, num_stages=config.num_stages - 1)
        else:
            config = replace(config, block_n=config.block_n // 2)
    return config


def _fits(config: LaunchConfig, gpu: Gpu, itemsize: int) -> bool:
    return config.shared_memory(itemsize) + 2048 <= gpu.shared_memory


def attention_keys(tokens: int) -> int:
    """Width of a tile that holds all keys."""
    return next_power_of_two(tokens, minimum=16)


def next_power_of_two(value: int, minimum: int = 1) -> int:
    """Smallest power of two that is at least `value` and `minimum`."""
    return max(minimum, 1 << (value - 1).bit_length())

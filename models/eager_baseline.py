"""Eager baseline of a benchmark: the published network in eager PyTorch, and the machine's matrix rate."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .execution.dtype import DTYPES
from .networks.build import NormalizedNetwork
from .registry import describe, load_network

_SIDES = {"cpu": (512,) * 12 + (1024,) * 4 + (2048,), "cuda": (8192,) * 8}
"""Sides of the matrices: on a CPU small products fit between other work, large ones keep many cores busy."""


def load_eager_baseline(source: str, *, device: str, dtype: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Eager network of a checkpoint, as published: uint8 (B, H, W, 3) -> float32 logits (B, classes).

    Args:
        dtype: the served dtype; float32 replaces one that PyTorch does not multiply here, such as int8.

    Raises:
        LookupError, ValueError: as `load_model`.
    """
    compute_dtype = DTYPES.get(dtype, torch.float32)
    preprocessing = describe(source).preprocessing
    network = NormalizedNetwork(
        load_network(source).to(device=device, dtype=compute_dtype), preprocessing.mean, preprocessing.std
    )

    @torch.inference_mode()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network(torch.from_numpy(pixels).to(device)).float().numpy(force=True)
        return logits

    return run


def matrix_multiplications(*, device: str, dtype: str) -> list[tuple[Callable[[], None], int]]:
    """Products of square matrices, each with its number of operations (two per multiply-accumulate).

    The highest rate among them is the machine's matrix rate.
    """
    target = torch.device(device)
    sides = _SIDES.get(target.type, _SIDES["cpu"])
    matrices = {side: torch.randn(side, side, device=target).to(DTYPES.get(dtype, torch.float32)) for side in sides}
    return [(partial(_square, matrices[side]), 2 * side**3) for side in sides]


def measure_matrix_rate(*, device: str, dtype: str) -> float:
    """Matrix rate of the device in operations per second, measured in this thread."""
    products = matrix_multiplications(device=device, dtype=dtype)
    return max(operations / _seconds(multiply) for multiply, operations in products)


def _seconds(multiply: Callable[[], None]) -> float:
    started = time.perf_counter()
    multiply()
    return time.perf_counter() - started


def _square(matrix: Tensor) -> None:
    product = matrix @ matrix
    if product.is_cuda:
        torch.cuda.synchronize(product.device)


def release_cached_memory(device: str) -> None:
    """Release unused memory of PyTorch's caching allocator to the device."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()

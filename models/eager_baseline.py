"""What a served model is measured against: the published network in eager PyTorch, and the machine's matrix rate."""

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
"""Of the matrices. A short product on a CPU gets through between other work, a large one keeps many cores busy."""


def load_eager_baseline(source: str, *, device: str, dtype: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The network of a checkpoint as its authors published it: uint8 (B, H, W, 3) -> float32 (B, classes).

    Args:
        dtype: the served one; a dtype that PyTorch does not multiply here, such as int8, is compared in float32.

    Raises:
        LookupError, ValueError: as `load_model`.
    """
    kind = DTYPES.get(dtype, torch.float32)
    recipe = describe(source).preprocessing
    network = NormalizedNetwork(load_network(source).to(device=device, dtype=kind), recipe.mean, recipe.std)

    @torch.inference_mode()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network(torch.from_numpy(pixels).to(device)).float().numpy(force=True)
        return logits

    return run


def matrix_multiplications(*, device: str, dtype: str) -> list[tuple[Callable[[], None], int]]:
    """Products of square matrices, and how many operations each takes: two per multiply-accumulate.

    The rate of the quickest is what the machine reaches.
    """
    place = torch.device(device)
    sides = _SIDES.get(place.type, _SIDES["cpu"])
    matrices = {side: torch.randn(side, side, device=place).to(DTYPES.get(dtype, torch.float32)) for side in sides}
    return [(partial(_square, matrices[side]), 2 * side**3) for side in sides]


def measure_matrix_rate(*, device: str, dtype: str) -> float:
    """Operations per second that the machine reaches, measured in this thread."""
    products = matrix_multiplications(device=device, dtype=dtype)
    return max(operations / _seconds(multiply) for multiply, operations in products)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _square(matrix: Tensor) -> None:
    product = matrix @ matrix
    if product.is_cuda:
        torch.cuda.synchronize(product.device)


def release_cached_memory(device: str) -> None:
    """Memory that what was dropped here had taken goes back to the device."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()

"""Every kernel starts here: the one place that knows how a launch is spelt, and where tests look on."""

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ..device import gpu_of, interpreter_enabled
from ..tuning.heuristics import LaunchConfig


def make_descriptors(
    x: Tensor, weight: Tensor, out: Tensor, tile: LaunchConfig, activation: str
) -> tuple[TensorDescriptor | None, ...]:
    """Of x, weight and out; none where the GPU has no bulk copies."""
    _check_alignment("x", x)
    _check_alignment("weight", weight)
    gpu = gpu_of(x.device)
    if not gpu.has_tma and gpu.arch:
        return None, None, None
    out_block = tile.block_n // (2 if activation == "swiglu" else 1)
    return (
        _descriptor(x, tile.block_m, tile.block_k),
        _descriptor(weight, tile.block_n, tile.block_k),
        _descriptor(out, tile.block_m, out_block) if aligned(out) else None,
    )


def _descriptor(x: Tensor, rows: int, columns: int) -> TensorDescriptor:
    return TensorDescriptor(x, list(x.shape), list(x.stride()), [rows, columns])


def _check_alignment(name: str, x: Tensor) -> None:
    if not aligned(x):
        raise ValueError(
            f"{name} of {tuple(x.shape)} does not suit the Triton kernel: rows start at multiples of 16 bytes, so for "
            f"{x.dtype} its width must be divisible by {16 // x.element_size()}; use the torch implementation"
        )


def aligned(x: Tensor) -> bool:
    """Whether bulk copies can take the rows."""
    size = x.element_size()
    return x.stride(1) == 1 and x.stride(0) * size % 16 == 0 and x.data_ptr() % 16 == 0


DOT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Launch = Callable[..., None]


def launch(kernel: Any, grid: tuple[int, ...], tile: LaunchConfig, *arguments: object, **constants: object) -> None:
    """Runs `kernel` over `grid`, on the GPU that its tensors are on: by itself Triton takes the thread's current one.

    Floating-point contraction is asked for by name: it is triton's default only up to 3.9.
    """
    options: dict[str, object] = {"num_warps": tile.num_warps, "num_stages": tile.num_stages}
    if not interpreter_enabled():
        options["enable_fp_fusion"] = True
        if tile.pdl and constants.get("PDL"):  # a kernel that does not wait for the one before must not overtake it
            options["launch_pdl"] = True
    with torch.cuda.device_of(next(argument for argument in arguments if isinstance(argument, torch.Tensor))):
        kernel[grid](*arguments, **constants, **options)


def check_dtype(x: torch.Tensor) -> None:
    """
    Raises:
        ValueError: the kernels do not multiply this dtype.
    """
    if x.dtype not in DOT_DTYPES:
        raise ValueError(
            f"Triton kernels run in float32, bfloat16 or float16, not {x.dtype}; use the torch implementation"
        )


def power_of_two(value: int, least: int = 1) -> int:
    """The next power of two, at least `least`."""
    return max(least, triton.next_power_of_2(value))

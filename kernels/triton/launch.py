"""Kernel launches: options, tensor descriptors and argument checks shared by all launchers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ..device import gpu_of, interpreter_enabled
from ..reference import part_width
from ..tuning.heuristics import LaunchConfig, next_power_of_two

DOT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Launch = Callable[..., None]


def launch(kernel: Any, grid: tuple[int, ...], config: LaunchConfig, *arguments: object, **constants: object) -> None:
    """Launch `kernel` over `grid`, on the GPU of its tensors: by default Triton uses the thread's current device.

    Floating-point contraction is requested explicitly: it is triton's default only up to 3.9.
    """
    options: dict[str, object] = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    if not interpreter_enabled():
        options["enable_fp_fusion"] = True
        if config.pdl and constants.get("PDL"):  # a kernel without gdc_wait must not overtake the previous one
            options["launch_pdl"] = True
    with torch.cuda.device_of(next(argument for argument in arguments if isinstance(argument, torch.Tensor))):
        kernel[grid](*arguments, **constants, **options)


def make_descriptors(
    x: Tensor, weight: Tensor, out: Tensor, config: LaunchConfig, activation: str
) -> tuple[TensorDescriptor | None, ...]:
    """Tensor descriptors of x, weight and out; None where the GPU has no TMA.

    Raises:
        ValueError: rows of x or weight are not aligned to 16 bytes.
    """
    _check_alignment("x", x)
    _check_alignment("weight", weight)
    if not uses_descriptors(x):
        return None, None, None
    out_block = config.block_n // (2 if activation == "swiglu" else 1)
    return (
        _descriptor(x, config.block_m, config.block_k),
        _descriptor(weight, config.block_n, config.block_k),
        _descriptor(out, config.block_m, out_block) if aligned(out) else None,
    )


def uses_descriptors(x: Tensor) -> bool:
    """True where tiles are loaded by tensor descriptors: on GPUs with TMA, and in the interpreter."""
    gpu = gpu_of(x.device)
    return gpu.has_tma or not gpu.arch


def _descriptor(x: Tensor, rows: int, columns: int) -> TensorDescriptor:
    return TensorDescriptor(x, list(x.shape), list(x.stride()), [rows, columns])


def _check_alignment(name: str, x: Tensor) -> None:
    if not aligned(x):
        raise ValueError(
            f"{name} of {tuple(x.shape)} does not suit the Triton kernel: rows start at multiples of 16 bytes, so for "
            f"{x.dtype} its width must be divisible by {16 // x.element_size()}; use the torch implementation"
        )


def aligned(x: Tensor) -> bool:
    """True where rows are contiguous and start at multiples of 16 bytes, as TMA requires."""
    size = x.element_size()
    return x.stride(1) == 1 and x.stride(0) * size % 16 == 0 and x.data_ptr() % 16 == 0


def check_dtype(x: torch.Tensor) -> None:
    """Check that the kernels multiply matrices of this dtype.

    Raises:
        ValueError: they do not.
    """
    if x.dtype not in DOT_DTYPES:
        raise ValueError(
            f"Triton kernels run in float32, bfloat16 or float16, not {x.dtype}; use the torch implementation"
        )


def statistics_layout(statistics: Tensor | None, columns: int) -> tuple[tuple[int, ...], dict[str, int]]:
    """Strides of row statistics (parts, 2, M) over `columns` channels, and the constants PARTS and WIDTH."""
    strides = (0, 0, 0) if statistics is None else statistics.stride()
    parts = 1 if statistics is None else len(statistics)
    width = next_power_of_two(columns) if parts == 1 else part_width(columns, parts)
    return strides, {"PARTS": parts, "WIDTH": width}

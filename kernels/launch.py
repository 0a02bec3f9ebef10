"""Every kernel starts here: the one place that knows how a launch is spelt, and where tests look on."""

from collections.abc import Callable
from typing import Any

import torch
import triton

from .backend import interpreting
from .tuning import Tile

DOT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Launch = Callable[..., None]


def launch(kernel: Any, grid: tuple[int, ...], tile: Tile, *arguments: object, **constants: object) -> None:
    """Runs `kernel` over `grid`, on the GPU that its tensors are on: by itself Triton takes the thread's current one.

    Floating-point contraction is asked for by name: it is triton's default only up to 3.9.
    """
    options: dict[str, object] = {"num_warps": tile.warps, "num_stages": tile.stages}
    if not interpreting():
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

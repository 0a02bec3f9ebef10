"""Tensor descriptors of a product's matrices, made on the host so that a launch and a CUDA graph carry them."""

from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from .devices import gpu_of
from .tuning import Tile


def descriptors_of(
    x: Tensor, weight: Tensor, out: Tensor, tile: Tile, activation: str
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

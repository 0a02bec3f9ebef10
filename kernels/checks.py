"""Argument checks of operators: each raises a ValueError with the argument's name, its value and the expected one."""

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ACTIVATIONS = ("none", "gelu", "quick_gelu", "swiglu")


def shape(name: str, tensor: Tensor, *expected: int | str) -> None:
    """Check the shape: numbers must match, names stand for any length."""
    matches = tensor.ndim == len(expected) and all(
        isinstance(size, str) or size == length for size, length in zip(expected, tensor.shape, strict=True)
    )
    if not matches:
        raise ValueError(f"{name} must be ({_product(expected)}), not ({_product(tensor.shape)})")


def dtype(name: str, tensor: Tensor, *allowed: torch.dtype) -> None:
    """Check that the dtype is one of `allowed`."""
    if tensor.dtype not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(_name, allowed))}, not {_name(tensor.dtype)}")


def same(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Check that both tensors have the same dtype and device."""
    if tensor.dtype != other.dtype:
        raise ValueError(f"{name} must have {other_name}'s dtype, {_name(other.dtype)}, not {_name(tensor.dtype)}")
    if tensor.device != other.device:
        raise ValueError(f"{name} must be on {other_name}'s device, {other.device}, not {tensor.device}")


def activation(name: str, width: int) -> None:
    """Check that the activation exists and accepts `width` channels."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not one of {', '.join(ACTIVATIONS)}")
    if name == "swiglu" and width % 2:
        raise ValueError(f"swiglu takes pairs of channels, but the weight has {width} rows")


def divides(name: str, divisor: int, dividend: str, value: int) -> None:
    """Check that `divisor` is positive and divides `value`; `dividend` names the latter."""
    if divisor <= 0 or value % divisor:
        raise ValueError(f"{name} ({divisor}) must be positive and divide {dividend} ({value})")


def patches(pixels: Tensor, weight: Tensor, patch_size: int) -> int:
    """Number of patches per image: checks pixels (B, H, W, 3), their dtype, and that the patch size divides H and W."""
    shape("pixels", pixels, "B", "H", "W", 3)
    dtype("pixels", pixels, torch.uint8, weight.dtype)
    divides("patch_size", patch_size, "the image's height", pixels.shape[1])
    divides("patch_size", patch_size, "the image's width", pixels.shape[2])
    return (pixels.shape[1] // patch_size) * (pixels.shape[2] // patch_size)


def _product(sizes: tuple[int | str, ...]) -> str:
    return " × ".join(map(str, sizes))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

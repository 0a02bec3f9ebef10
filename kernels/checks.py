"""What an operator accepts: each check raises a ValueError that names the argument, what it is and what would be
right.
"""

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ACTIVATIONS = ("none", "gelu", "quick_gelu", "swiglu")


def shape(name: str, tensor: Tensor, *expected: int | str) -> None:
    """`expected` lengths: numbers must match, names stand for any length."""
    fits = tensor.ndim == len(expected) and all(
        isinstance(wanted, str) or wanted == length for wanted, length in zip(expected, tensor.shape, strict=True)
    )
    if not fits:
        wanted = " × ".join(str(length) for length in expected)
        raise ValueError(f"{name} must be ({wanted}), not ({' × '.join(str(length) for length in tensor.shape)})")


def dtype(name: str, tensor: Tensor, *allowed: torch.dtype) -> None:
    if tensor.dtype not in allowed:
        raise ValueError(f"{name} must be {' or '.join(_plain(kind) for kind in allowed)}, not {_plain(tensor.dtype)}")


def same(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Same dtype and device."""
    if tensor.dtype != other.dtype:
        raise ValueError(f"{name} must have {other_name}'s dtype, {_plain(other.dtype)}, not {_plain(tensor.dtype)}")
    if tensor.device != other.device:
        raise ValueError(f"{name} must be on {other_name}'s device, {other.device}, not {tensor.device}")


def activation(name: str, width: int) -> None:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not one of {', '.join(ACTIVATIONS)}")
    if name == "swiglu" and width % 2:
        raise ValueError(f"swiglu takes pairs of channels, but the weight has {width} rows")


def divides(name: str, divisor: int, what: str, value: int) -> None:
    if divisor <= 0 or value % divisor:
        raise ValueError(f"{name} ({divisor}) must be positive and divide {what} ({value})")


def _plain(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")

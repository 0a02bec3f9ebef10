"""Argument checks: valid arguments pass, errors name the argument, its value and the expected one."""

import pytest
import torch

from tessella.kernels import checks

X = torch.empty(2, 3)


def test_valid_arguments_pass() -> None:
    checks.shape("x", X, "M", 3)
    checks.dtype("x", X, torch.float16, torch.float32)
    checks.same("x", X, "y", torch.empty(1))
    checks.activation("swiglu", 4)
    checks.divides("heads", 3, "the width", 12)
    assert checks.patches(torch.empty(1, 8, 12, 3, dtype=torch.uint8), X, 4) == 6


@pytest.mark.parametrize("expected", [(3, 3), ("M",), ("M", 3, 1)], ids=str)
def test_shapes(expected: tuple[int | str, ...]) -> None:
    shape = " × ".join(map(str, expected))
    with pytest.raises(ValueError, match=rf"^x must be \({shape}\), not \(2 × 3\)$"):
        checks.shape("x", X, *expected)


def test_dtypes_and_devices() -> None:
    with pytest.raises(ValueError, match=r"^x must be uint8 or float16, not float32$"):
        checks.dtype("x", X, torch.uint8, torch.float16)
    with pytest.raises(ValueError, match=r"^x must have y's dtype, float64, not float32$"):
        checks.same("x", X, "y", torch.empty(1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"^x must be on y's device, meta, not cpu$"):
        checks.same("x", X, "y", torch.empty(1, device="meta"))


def test_activations() -> None:
    with pytest.raises(ValueError, match="activation 'relu' is not one of none, gelu, quick_gelu, swiglu"):
        checks.activation("relu", 4)
    with pytest.raises(ValueError, match="swiglu takes pairs of channels, but the weight has 5 rows"):
        checks.activation("swiglu", 5)


@pytest.mark.parametrize("divisor", [0, -4, 5])
def test_divisors(divisor: int) -> None:
    with pytest.raises(ValueError, match=rf"^heads \({divisor}\) must be positive and divide the width \(12\)$"):
        checks.divides("heads", divisor, "the width", 12)


def test_patches() -> None:
    with pytest.raises(ValueError, match=r"patch_size \(4\) must be positive and divide the image's width \(10\)"):
        checks.patches(torch.empty(1, 8, 10, 3, dtype=torch.uint8), X, 4)

"""Resize benchmark: PyTorch's resize is within a few levels of the reference, and traffic counts every pixel once."""

import torch

from tessella.benchmarks.operators import resize
from tessella.benchmarks.operators.measure import relative_error

from ...support.tiny_networks import CPU


def test_pytorch_is_close_to_pillow() -> None:
    work = resize.make(16, 2, torch.float16, CPU)
    reference = work.reference()
    assert reference.shape == (2, 16, 16, 3)
    assert 0 < relative_error(work.torch()(), reference) < 1e-2


def test_macs_and_bytes_grow_with_the_batch() -> None:
    one, four = (resize.make(16, batch, torch.float16, CPU) for batch in (1, 4))
    width, height = resize.PHOTO
    assert one.bytes() == width * height * 3 + 16 * 16 * 3
    assert (four.macs(), four.bytes()) == (4 * one.macs(), 4 * one.bytes())
    assert one.macs() > 2 * 16 * 16 * 3

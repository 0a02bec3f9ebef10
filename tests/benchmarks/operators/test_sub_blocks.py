"""Sub-blocks of the benchmark: multiply-accumulates and bytes by hand, and every implementation against float64."""

import pytest
import torch

from tessella.benchmarks.operators import sub_blocks
from tessella.benchmarks.operators.measure import relative_error

from ...support.tiny_networks import CPU, TINY

ROWS = 2 * TINY.tokens


@pytest.mark.parametrize("composite", sub_blocks.COMPOSITES)
def test_triton_and_pytorch_compute_the_reference(composite: str) -> None:
    block = sub_blocks.make(composite, TINY, 2, torch.float32, CPU)
    assert (block.name, block.batch, block.dtype) == (composite, 2, torch.float32)
    reference = block.reference()
    assert reference.shape == (2, TINY.tokens, TINY.dim)
    assert relative_error(block.torch()(), reference) < 1e-5
    assert relative_error(block.triton()(), reference) < 1e-5


def test_macs_are_those_of_the_published_block() -> None:
    attention, mlp = (sub_blocks.make(name, TINY, 2, torch.float32, CPU) for name in sub_blocks.COMPOSITES)
    assert attention.macs() == ROWS * (3 * 32 * 32 + 32 * 32) + 2 * ROWS * TINY.tokens * 32
    assert mlp.macs() == ROWS * 2 * 32 * 64
    assert mlp.bytes() == 4 * (2 * ROWS * 32 + 2 * 32 * 64)

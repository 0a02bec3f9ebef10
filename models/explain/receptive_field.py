"""How far a convolutional network can see at each depth: ResNet-50, from its kernels and strides. Knows no torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution or a pooling, in pixels of its own input."""

    kernel: int
    stride: int = 1


STEM = (Window(7, 2), Window(3, 2))
STAGES = ((3, 1), (4, 2), (6, 2), (3, 2))
"""Blocks and the first block's stride, of ResNet-50 (He et al., arXiv 1512.03385, table 1)."""


def bottleneck(stride: int) -> tuple[Window, ...]:
    """1×1, 3×3, 1×1. Where the stride lies, in the first or the second, moves the field: the second is usual today."""
    return Window(1), Window(3, stride), Window(1)


def resnet_blocks() -> Iterator[tuple[Window, ...]]:
    """The windows of each residual block; those of the stem stand before the first block's."""
    before: tuple[Window, ...] = STEM
    for blocks, stride in STAGES:
        for block in range(blocks):
            yield before + bottleneck(stride if block == 0 else 1)
            before = ()


def receptive_fields(blocks: Iterable[Iterable[Window]]) -> list[int]:
    """The side, in image pixels, of the square that one unit after each block depends on."""
    states = accumulate(blocks, lambda state, block: _through(block, *state), initial=(1, 1))
    return [side for side, _ in states][1:]


def reaches(depth: int) -> list[float]:
    """How far from its place a unit of ResNet-50 can see after each of `depth` blocks, in pixels; it has 16 blocks.

    Half the receptive field: a distance, as attention has one.
    """
    return [(side - 1) / 2 for side in receptive_fields(resnet_blocks())][:depth]


def _through(block: Iterable[Window], side: int, step: int) -> tuple[int, int]:
    """`step`: how many image pixels lie between neighbouring units."""
    for window in block:
        side, step = side + (window.kernel - 1) * step, step * window.stride
    return side, step

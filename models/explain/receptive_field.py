"""Receptive field of ResNet-50 at each depth, from its kernels and strides. No torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel size and stride of a convolution or pooling, in pixels of its input."""

    kernel: int
    stride: int = 1


STEM = (Window(7, 2), Window(3, 2))
STAGES = ((3, 1), (4, 2), (6, 2), (3, 2))
"""(blocks, stride of the first block) of each stage of ResNet-50 (He et al., arXiv 1512.03385, table 1)."""


def bottleneck(stride: int) -> tuple[Window, ...]:
    """Bottleneck block, 1×1, 3×3, 1×1, with the stride in the 3×3 convolution as in torchvision (ResNet v1.5)."""
    return Window(1), Window(3, stride), Window(1)


def resnet_blocks() -> Iterator[tuple[Window, ...]]:
    """Windows of each residual block; the first block includes the stem."""
    before: tuple[Window, ...] = STEM
    for blocks, stride in STAGES:
        for block in range(blocks):
            yield before + bottleneck(stride if block == 0 else 1)
            before = ()


def receptive_fields(blocks: Iterable[Iterable[Window]]) -> list[int]:
    """Receptive field after each block: the side, in image pixels, of the square that one unit depends on."""
    states = accumulate(blocks, lambda state, block: _through(block, *state), initial=(1, 1))
    return [side for side, _ in states][1:]


def receptive_radii(depth: int) -> list[float]:
    """Receptive radius of ResNet-50 after each of the first `depth` blocks (16 at most), in pixels.

    Half the receptive field, to be compared with attention distances.
    """
    return [(side - 1) / 2 for side in receptive_fields(resnet_blocks())][:depth]


def _through(block: Iterable[Window], side: int, step: int) -> tuple[int, int]:
    """Receptive field and step after a block; `step` is the distance between neighbouring units in image pixels."""
    for window in block:
        side, step = side + (window.kernel - 1) * step, step * window.stride
    return side, step

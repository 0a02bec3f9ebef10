"""What launch configurations depend on in a GPU. On a CPU, where kernels run in Triton's interpreter, a stand-in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

SHARED_MEMORY = {
    80: 166_912,
    86: 101_376,
    87: 166_912,
    89: 101_376,
    90: 232_448,
    100: 232_448,
    103: 232_448,
    120: 101_376,
}
"""Bytes that one program may use, by compute capability (CUDA C++ Programming Guide, technical specifications)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """`arch`: compute capability as major · 10 + minor; 0 for the interpreter. `sms`: streaming multiprocessors."""

    name: str
    arch: int
    sms: int

    @property
    def shared_memory(self) -> int:
        return SHARED_MEMORY.get(self.arch, 101_376)

    @property
    def has_tma(self) -> bool:
        """Whether tensor descriptors become bulk copies; below sm_90 they are ordinary loads."""
        return self.arch >= 90

    @property
    def slug(self) -> str:
        """As in the name of its table of configurations."""
        return "-".join(self.name.lower().replace("/", " ").split())


INTERPRETER = Gpu("interpreter", 0, 3)
_assumed: list[Gpu] = []


def gpu_of(device: torch.device) -> Gpu:
    """The GPU behind a device."""
    if _assumed:
        return _assumed[-1]
    return _cuda(device.index or 0) if device.type == "cuda" else INTERPRETER


@contextmanager
def assume(gpu: Gpu) -> Iterator[None]:
    """Inside, every device counts as this GPU: for compiling kernels on a machine that has none."""
    _assumed.append(gpu)
    try:
        yield
    finally:
        _assumed.pop()


@cache
def _cuda(index: int) -> Gpu:
    properties = torch.cuda.get_device_properties(index)
    return Gpu(properties.name, properties.major * 10 + properties.minor, properties.multi_processor_count)

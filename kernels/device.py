"""Whether this machine can run our Triton kernels, and if not, why. Imports triton only when asked."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


class TritonUnavailableError(RuntimeError):
    """Our kernels were asked for and cannot run here; the message says why and what to use."""


def unavailable_reason(device: torch.device, dtype: torch.dtype | None = None) -> str | None:
    """Why Triton kernels cannot run a network on this device, in a sentence, or None where they can.

    Args:
        dtype: of the network's matrices, where it is known. float32 is for the interpreter.
    """
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed (`pip install triton`, Linux with an NVIDIA GPU)"
    if device.type == "cpu" and interpreter_enabled():
        return None
    if device.type != "cuda":
        return f"Triton kernels need an NVIDIA GPU, and the device is {device.type!r}"
    if torch.version.cuda is None:
        return f"the installed PyTorch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return "PyTorch finds no NVIDIA GPU (no device, or no driver for it)"
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        return f"the kernels need compute capability 8.0 or newer, and this GPU has {major}.{minor}"
    if dtype == torch.float32:
        return "the kernels multiply bfloat16 and float16, and float32 takes PyTorch's products"
    return None


def interpreter_enabled() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def require_triton(x: Tensor) -> None:
    """
    Raises:
        TritonUnavailableError: the kernels cannot run where `x` is.
    """
    reason = unavailable_reason(x.device)
    if reason is not None:
        raise TritonUnavailableError(f"{reason}; use the implementation 'torch'")


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
def assume_gpu(gpu: Gpu) -> Iterator[None]:
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

"""GPU properties, and the reason where Triton kernels cannot run. Does not import triton."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


class TritonUnavailableError(RuntimeError):
    """Triton kernels were requested and cannot run here; the message gives the reason and the alternative."""


def unavailable_reason(device: torch.device, dtype: torch.dtype | None = None) -> str | None:
    """Reason why Triton kernels cannot run a network on this device, as a clause, or None where they can.

    Args:
        device: of the network.
        dtype: of the network's matrices, if known; float32 runs in the interpreter only.
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
        return "PyTorch finds no NVIDIA GPU (no device, or no driver)"
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        return f"the kernels need compute capability 8.0 or newer, and this GPU has {major}.{minor}"
    if dtype == torch.float32:
        return "the kernels take bfloat16 and float16, and float32 runs in PyTorch"
    return None


def interpreter_enabled() -> bool:
    """True where kernels run in Triton's interpreter, on the CPU: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def require_triton(x: Tensor) -> None:
    """Check that Triton kernels can run on the tensor's device.

    Raises:
        TritonUnavailableError: they cannot.
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
"""Shared memory per program in bytes, by compute capability (CUDA C++ Programming Guide, technical specifications)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """GPU properties that launch configurations depend on.

    Attributes:
        name: as CUDA reports it.
        arch: compute capability as major · 10 + minor; 0 for the interpreter.
        sms: number of streaming multiprocessors.
    """

    name: str
    arch: int
    sms: int

    @property
    def shared_memory(self) -> int:
        """Bytes per program."""
        return SHARED_MEMORY.get(self.arch, 101_376)

    @property
    def has_tma(self) -> bool:
        """True where tensor descriptors compile to TMA copies; below sm_90 they are ordinary loads."""
        return self.arch >= 90

    @property
    def slug(self) -> str:
        """File name stem of the GPU's table of launch configurations."""
        return "-".join(self.name.lower().replace("/", " ").split())


INTERPRETER = Gpu("interpreter", 0, 3)
_assumed: list[Gpu] = []


def gpu_of(device: torch.device) -> Gpu:
    """GPU of a device; the interpreter for a CPU."""
    if _assumed:
        return _assumed[-1]
    return _cuda(device.index or 0) if device.type == "cuda" else INTERPRETER


@contextmanager
def assume_gpu(gpu: Gpu) -> Iterator[None]:
    """Context manager: treat every device as this GPU, to compile kernels on a machine without one."""
    _assumed.append(gpu)
    try:
        yield
    finally:
        _assumed.pop()


@cache
def _cuda(index: int) -> Gpu:
    properties = torch.cuda.get_device_properties(index)
    return Gpu(properties.name, properties.major * 10 + properties.minor, properties.multi_processor_count)

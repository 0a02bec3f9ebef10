"""Whether this machine can run our Triton kernels, and if not, why. Imports triton only when asked."""

import importlib.util
import os

import torch
from torch import Tensor


class TritonUnavailableError(RuntimeError):
    """Our kernels were asked for and cannot run here; the message says why and what to use."""


def unavailable(device: torch.device, dtype: torch.dtype | None = None) -> str | None:
    """Why Triton kernels cannot run a network on this device, in a sentence, or None where they can.

    Args:
        dtype: of the network's matrices, where it is known. float32 is for the interpreter.
    """
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed (`pip install triton`, Linux with an NVIDIA GPU)"
    if device.type == "cpu" and interpreting():
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


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def require(x: Tensor) -> None:
    """
    Raises:
        TritonUnavailableError: the kernels cannot run where `x` is.
    """
    reason = unavailable(x.device)
    if reason is not None:
        raise TritonUnavailableError(f"{reason}; use the implementation 'torch'")

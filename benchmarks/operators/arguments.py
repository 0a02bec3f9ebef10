"""Arguments of the GPU benchmarks and of tuning: device and dtype by name, validated."""

import torch

from ...kernels.device import unavailable_reason
from ...models.execution.dtype import DTYPES


def require_gpu(name: str, alternative: str) -> torch.device:
    """GPU by its name, such as `cuda:0`, made the current device.

    Raises:
        ValueError: it is not an NVIDIA GPU that the kernels support; the message has the reason and `alternative`.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is not one of cuda, cuda:0, …") from error
    reason = (
        unavailable_reason(device) if device.type == "cuda" else f"it needs an NVIDIA GPU, and the device is {name!r}"
    )
    if reason is None and (device.index or 0) >= torch.cuda.device_count():
        reason = f"there is no {name}, only {torch.cuda.device_count()} GPUs"
    if reason is not None:
        raise ValueError(f"this cannot run here: {reason}; {alternative}")
    torch.cuda.set_device(device)
    return device


def gpu_dtype(name: str) -> torch.dtype:
    """Dtype by its name, of those that the kernels multiply.

    Raises:
        ValueError: not bfloat16 or float16.
    """
    if name == "float32":
        raise ValueError("dtype 'float32' is neither bfloat16 nor float16: a GPU runs it in PyTorch")
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} is not one of bfloat16, float16")
    return DTYPES[name]

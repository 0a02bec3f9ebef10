"""Dtype of a network on a device, and the number of CPU threads."""

import copy
import statistics
import time

import torch
from torch import Tensor, nn

from ..cpu import has_bfloat16, usable_cores

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MIN_BFLOAT16_SPEEDUP = 1.15
"""Speed-up over float32 from which bfloat16 is chosen on a CPU, in exchange for its lower precision."""


def choose_dtype(requested: str, network: nn.Module, image_size: int, device: torch.device) -> tuple[torch.dtype, str]:
    """Dtype to run in, and a clause with the reason.

    Args:
        requested: `auto`, `float32`, `bfloat16` or `float16`.
        network: float32, on the CPU; timed only where the CPU has bfloat16 instructions.

    Raises:
        ValueError: an unknown dtype.
    """
    if requested != "auto":
        if requested not in DTYPES:
            raise ValueError(f"dtype {requested!r} is not one of auto, {', '.join(DTYPES)}")
        return DTYPES[requested], f"{requested} as requested"
    if device.type == "cuda":
        return _cuda_dtype(device)
    if device.type != "cpu" or not has_bfloat16():
        return torch.float32, f"float32, as this {device.type} has no bfloat16 instructions"
    speedup = bfloat16_speedup(network, image_size)
    measured = f"bfloat16 measured {speedup:.2f} times as fast as float32"
    if speedup >= MIN_BFLOAT16_SPEEDUP:
        return torch.bfloat16, f"bfloat16, as {measured}"
    return torch.float32, f"float32, as {measured}, short of {MIN_BFLOAT16_SPEEDUP}"


def _cuda_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    major, minor = torch.cuda.get_device_capability(device)
    if major >= 8:
        return torch.bfloat16, f"bfloat16, as sm_{major}{minor} has bfloat16 tensor cores"
    return torch.float16, f"float16, as sm_{major}{minor} has no bfloat16 tensor cores"


@torch.inference_mode()
def bfloat16_speedup(network: nn.Module, image_size: int, passes: int = 5) -> float:
    """Speed-up of bfloat16 over float32 at batch 1: the ratio of median times of interleaved passes."""
    pairs = [(net, torch.zeros(1, 3, image_size, image_size, dtype=dtype)) for net, dtype in _variants(network)]
    for net, images in pairs:
        net(images)
    times = [[_seconds(net, images) for net, images in pairs] for _ in range(passes)]
    wide, narrow = (statistics.median(column) for column in zip(*times, strict=True))
    return wide / narrow


def _variants(network: nn.Module) -> list[tuple[nn.Module, torch.dtype]]:
    return [(network, torch.float32), (copy.deepcopy(network).bfloat16(), torch.bfloat16)]


def _seconds(network: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    network(images)
    return time.perf_counter() - start


def limit_threads() -> int:
    """Limit torch's threads to the cores this process may use, and return their number; never raises it.

    torch counts the machine's cores, not a container's CPU quota, and oversubscribed threads wait for each other.
    """
    usable = usable_cores()
    if torch.get_num_threads() > usable:
        torch.set_num_threads(usable)
    return torch.get_num_threads()

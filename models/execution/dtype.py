"""Which number format a network runs in on a device, and on how many threads: measured where it is not obvious."""

import copy
import statistics
import time

import torch
from torch import Tensor, nn

from ..cpu import has_bfloat16, usable_cores

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WORTHWHILE = 1.15
"""bfloat16 gives up digits; on a CPU it must gain at least this factor in time for them."""


def choose_dtype(requested: str, network: nn.Module, image_size: int, device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype to run in, and a clause that says why.

    Args:
        requested: `auto`, `float32`, `bfloat16` or `float16`.
        network: float32, on the CPU; timed only where the CPU has bfloat16 instructions.

    Raises:
        ValueError: another name.
    """
    if requested != "auto":
        if requested not in DTYPES:
            raise ValueError(f"dtype {requested!r} is not one of auto, {', '.join(DTYPES)}")
        return DTYPES[requested], f"{requested} as asked"
    if device.type == "cuda":
        return _cuda_dtype(device)
    if device.type != "cpu" or not has_bfloat16():
        return torch.float32, f"float32, as this {device.type} has no bfloat16 instructions"
    gain = bfloat16_gain(network, image_size)
    if gain >= WORTHWHILE:
        return torch.bfloat16, f"bfloat16, measured {gain:.2f} times as fast as float32 here"
    return torch.float32, f"float32, as bfloat16 measured {gain:.2f} times its speed here ({WORTHWHILE} would do)"


def _cuda_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    major, minor = torch.cuda.get_device_capability(device)
    if major >= 8:
        return torch.bfloat16, f"bfloat16, which sm_{major}{minor} multiplies on its tensor cores"
    return torch.float16, f"float16, as sm_{major}{minor} has no bfloat16 tensor cores"


@torch.inference_mode()
def bfloat16_gain(network: nn.Module, image_size: int, passes: int = 5) -> float:
    """Time of a float32 pass over that of a bfloat16 pass at batch 1: medians of passes taken in turns."""
    pairs = [(net, torch.zeros(1, 3, image_size, image_size, dtype=dtype)) for net, dtype in _both(network)]
    for net, images in pairs:
        net(images)
    times = [[_seconds(net, images) for net, images in pairs] for _ in range(passes)]
    wide, narrow = (statistics.median(column) for column in zip(*times, strict=True))
    return wide / narrow


def _both(network: nn.Module) -> list[tuple[nn.Module, torch.dtype]]:
    return [(network, torch.float32), (copy.deepcopy(network).bfloat16(), torch.bfloat16)]


def _seconds(network: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    network(images)
    return time.perf_counter() - start


def limit_threads() -> int:
    """Lowers torch's threads to the cores this process may use, where torch counted more; returns their number.

    torch sees the machine's cores, not the quota of a container: more threads than that wait for each other.
    """
    usable = usable_cores()
    if torch.get_num_threads() > usable:
        torch.set_num_threads(usable)
    return torch.get_num_threads()

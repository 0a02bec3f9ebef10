"""Dtype of a network on a device, and the number of CPU threads."""

import torch

from ..backend_rule import Machine, NetworkSize, auto_dtypes
from ..config import Config
from ..cpu import usable_cores

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_dtype(requested: str, config: Config, device: torch.device) -> tuple[torch.dtype, str]:
    """Dtype to run in, and a clause with the reason.

    Args:
        requested: `auto`, `float32`, `bfloat16` or `float16`.

    Raises:
        ValueError: an unknown dtype.
    """
    if requested != "auto":
        if requested not in DTYPES:
            raise ValueError(f"dtype {requested!r} is not one of auto, {', '.join(DTYPES)}")
        return DTYPES[requested], requested
    if device.type == "cuda":
        return _cuda_dtype(device)
    if device.type != "cpu":
        return torch.float32, f"float32, as this {device.type} has no bfloat16 instructions"
    return _cpu_dtype(NetworkSize.of(config), Machine.current())


def _cpu_dtype(network: NetworkSize, machine: Machine) -> tuple[torch.dtype, str]:
    name = auto_dtypes(network, machine)[0]
    if name == "bfloat16":
        return torch.bfloat16, "bfloat16, as this cpu has bfloat16 instructions"
    if network.small:
        return torch.float32, "float32, as the network is small"
    reason = "this cpu has no bfloat16 instructions" if network.classes else "the network has no classes"
    return torch.float32, f"float32, as {reason}"


def _cuda_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    major, minor = torch.cuda.get_device_capability(device)
    if major >= 8:
        return torch.bfloat16, f"bfloat16, as sm_{major}{minor} has bfloat16 tensor cores"
    return torch.float16, f"float16, as sm_{major}{minor} has no bfloat16 tensor cores"


def limit_threads() -> int:
    """Limit torch's threads to the cores this process may use, and return their number; never raises it.

    torch counts the machine's cores, not a container's CPU quota, and oversubscribed threads wait for each other.
    """
    usable = usable_cores()
    if torch.get_num_threads() > usable:
        torch.set_num_threads(usable)
    return torch.get_num_threads()

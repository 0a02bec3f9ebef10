"""What NVIDIA's management library tells of the GPUs in use, under Triton's metric names."""

import logging
import os
from collections.abc import Iterable
from functools import cache
from typing import Any

from .metrics import Metrics, resident_memory_bytes

_log = logging.getLogger(__name__)


def sample(metrics: Metrics, devices: Iterable[str]) -> None:
    """Sets utilisation (0 to 1), memory (bytes) and power (watts) of those of `devices` that are CUDA's (`cuda:0`)."""
    numbers = sorted({int(device.partition(":")[2] or 0) for device in devices if device.startswith("cuda")})
    nvml = _library() if numbers else None
    if nvml is None:
        return
    for number in numbers:
        try:
            for name, value in _read(nvml, _handle(nvml, number)).items():
                metrics.set(name, value, gpu_uuid=_uuid(nvml, number))
        except nvml.NVMLError as error:
            _log.debug("GPU %d tells nothing: %s", number, error)


def _read(nvml: Any, handle: Any) -> dict[str, float]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "nv_gpu_utilization": nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        "nv_gpu_memory_used_bytes": memory.used,
        "nv_gpu_memory_total_bytes": memory.total,
        "nv_gpu_power_usage": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
    }


def _handle(nvml: Any, number: int) -> Any:
    """CUDA counts the devices that CUDA_VISIBLE_DEVICES leaves; the library counts all."""
    visible = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    name = visible[number] if number < len(visible) else str(number)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name.encode())


def _uuid(nvml: Any, number: int) -> str:
    return str(nvml.nvmlDeviceGetUUID(_handle(nvml, number)))


@cache
def _library() -> Any:
    """`pynvml`, started; None, said once, where it or the driver is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ModuleNotFoundError:
        _log.warning("no GPU metrics: pip install 'tessella[gpu]' brings nvidia-ml-py")
    except pynvml.NVMLError as error:
        _log.warning("no GPU metrics: %s", error)
    else:
        return pynvml
    return None


def measure(metrics: Metrics, devices: Iterable[str]) -> None:
    """Sets the gauges of this process and of the GPUs among its `devices`."""
    metrics.set("tessella_resident_memory_bytes", resident_memory_bytes(), process=str(os.getpid()))
    sample(metrics, devices)

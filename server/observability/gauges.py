"""Gauges: memory of this process, and GPU utilisation, memory and power from NVML under Triton's metric names."""

import logging
import os
from collections.abc import Iterable
from functools import cache
from typing import Any

from .metrics import Metrics, resident_memory_bytes

_log = logging.getLogger(__name__)


def update_gauges(metrics: Metrics, devices: Iterable[str]) -> None:
    """Set the gauges of this process and of the GPUs among its `devices`."""
    metrics.set("tessella_resident_memory_bytes", resident_memory_bytes(), process=str(os.getpid()))
    update_gpu_gauges(metrics, devices)


def update_gpu_gauges(metrics: Metrics, devices: Iterable[str]) -> None:
    """Set utilisation (0 to 1), memory (bytes) and power (watts) of the CUDA devices (`cuda:0`) among `devices`."""
    indices = sorted({int(device.partition(":")[2] or 0) for device in devices if device.startswith("cuda")})
    nvml = _nvml() if indices else None
    if nvml is None:
        return
    for index in indices:
        try:
            handle = _handle(nvml, index)
            uuid = str(nvml.nvmlDeviceGetUUID(handle))
            for name, value in _read(nvml, handle).items():
                metrics.set(name, value, gpu_uuid=uuid)
        except nvml.NVMLError as error:
            _log.debug("no metrics of GPU %d: %s", index, error)


def _read(nvml: Any, handle: Any) -> dict[str, float]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "nv_gpu_utilization": nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        "nv_gpu_memory_used_bytes": memory.used,
        "nv_gpu_memory_total_bytes": memory.total,
        "nv_gpu_power_usage": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
    }


def _handle(nvml: Any, index: int) -> Any:
    """NVML handle of a CUDA device: CUDA's indices respect CUDA_VISIBLE_DEVICES, those of NVML do not."""
    visible = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    name = visible[index] if index < len(visible) else str(index)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name.encode())


@cache
def _nvml() -> Any:
    """Initialised module `pynvml`; None, with one warning, if it or the driver is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ModuleNotFoundError:
        _log.warning("no GPU metrics: nvidia-ml-py is not installed; pip install 'tessella[gpu]'")
    except pynvml.NVMLError as error:
        _log.warning("no GPU metrics: %s", error)
    else:
        return pynvml
    return None

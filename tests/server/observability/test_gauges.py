"""Process and GPU gauges, with a fake NVML: this machine may have no GPU."""

import logging
import os
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from tessella.server.observability.gauges import _nvml, update_gauges, update_gpu_gauges
from tessella.server.observability.metrics import Metrics, render


class NVMLError(Exception):
    pass


def fake_nvml(broken: str = "") -> ModuleType:
    """Fake `pynvml` with two GPUs, the second at twice the load of the first; the function `broken` raises."""
    module = ModuleType("pynvml")
    uuids = ["GPU-aaaa", "GPU-bbbb"]
    functions = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuids.index(uuid.decode()),
        "nvmlDeviceGetUUID": lambda handle: uuids[handle],
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=1000 * (handle + 1), total=4000),
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=40 * (handle + 1)),
        "nvmlDeviceGetPowerUsage": lambda handle: 350_000,
    }

    def fails(*_: object) -> None:
        raise NVMLError("the driver is too old")

    for name, function in functions.items():
        setattr(module, name, fails if name == broken else function)
    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    return module


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _nvml.cache_clear()
    yield
    _nvml.cache_clear()


def gauges(*devices: str) -> dict[str, float]:
    metrics = Metrics()
    update_gpu_gauges(metrics, devices)
    lines = [line for line in render(metrics.snapshot()).splitlines() if line.startswith("nv_gpu_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_gpu_in_use_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    assert gauges("cuda:1", "cpu") == {
        'nv_gpu_utilization{gpu_uuid="GPU-bbbb"}': 0.8,
        'nv_gpu_memory_used_bytes{gpu_uuid="GPU-bbbb"}': 2000,
        'nv_gpu_memory_total_bytes{gpu_uuid="GPU-bbbb"}': 4000,
        'nv_gpu_power_usage{gpu_uuid="GPU-bbbb"}': 350,
    }
    assert len(gauges("cuda", "cuda:0", "cuda:1")) == 8


@pytest.mark.parametrize("visible", ["1", "GPU-bbbb", " 1 ,0"])
def test_device_indices_respect_cuda_visible_devices(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gauges("cuda:0")['nv_gpu_utilization{gpu_uuid="GPU-bbbb"}'] == 0.8


def test_nvml_is_not_loaded_on_a_cpu(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gauges("cpu") == {}
    assert not caplog.records


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetPowerUsage"])
def test_failing_nvml_gives_no_gauges(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(broken))
    assert gauges("cuda:0") == {}


def test_missing_nvml_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with caplog.at_level(logging.WARNING):
        gauges("cuda:0")
        gauges("cuda:0")
    (record,) = caplog.records
    assert "tessella[gpu]" in record.getMessage()


def test_process_memory_is_set_with_its_process_id() -> None:
    metrics = Metrics()
    update_gauges(metrics, ["cpu"])
    ((name, labels, size),) = metrics.snapshot()["values"]
    assert (name, labels) == ("tessella_resident_memory_bytes", [("process", str(os.getpid()))])
    assert size > 2**20

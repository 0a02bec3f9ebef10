"""GPU gauges, from a management library that says what it is told: there may be no GPU here."""

import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from tessella.server.observability.gauges import _library, sample
from tessella.server.observability.metrics import Metrics, render


class NVMLError(Exception):
    pass


def library(broken: str = "") -> ModuleType:
    """Two GPUs, the second twice as busy as the first; `broken` is a function that fails."""
    module = ModuleType("pynvml")
    uuids = ["GPU-aaaa", "GPU-bbbb"]
    answers = {
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

    for name, answer in answers.items():
        setattr(module, name, fails if name == broken else answer)
    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    return module


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _library.cache_clear()
    yield
    _library.cache_clear()


def gauges(*devices: str) -> dict[str, float]:
    metrics = Metrics()
    sample(metrics, devices)
    lines = [line for line in render(metrics.snapshot()).splitlines() if line.startswith("nv_gpu_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_gpu_in_use_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    assert gauges("cuda:1", "cpu") == {
        'nv_gpu_utilization{gpu_uuid="GPU-bbbb"}': 0.8,
        'nv_gpu_memory_used_bytes{gpu_uuid="GPU-bbbb"}': 2000,
        'nv_gpu_memory_total_bytes{gpu_uuid="GPU-bbbb"}': 4000,
        'nv_gpu_power_usage{gpu_uuid="GPU-bbbb"}': 350,
    }
    assert len(gauges("cuda", "cuda:0", "cuda:1")) == 8


@pytest.mark.parametrize("visible", ["1", "GPU-bbbb", " 1 ,0"])
def test_devices_are_counted_as_cuda_counts_them(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gauges("cuda:0")['nv_gpu_utilization{gpu_uuid="GPU-bbbb"}'] == 0.8


def test_on_a_cpu_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gauges("cpu") == {}
    assert not caplog.records


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetPowerUsage"])
def test_a_library_that_fails_takes_nothing_down(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(broken))
    assert gauges("cuda:0") == {}


def test_a_missing_library_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with caplog.at_level(logging.WARNING):
        gauges("cuda:0")
        gauges("cuda:0")
    (record,) = caplog.records
    assert "tessella[gpu]" in record.getMessage()

"""Metrics: counters, gauges and histograms of one process, their sum over processes, and Prometheus' text format.

Names and meanings of `nv_*` are those of Triton Inference Server, so that its dashboards and autoscaling rules work.
"""

import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Snapshot = dict[str, list[list[Any]]]

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

COUNTERS: Final = {
    "nv_inference_request_success": "Number of successful requests",
    "nv_inference_request_failure": "Number of failed requests, by reason",
    "nv_inference_count": "Number of images run by the model",
    "nv_inference_exec_count": "Number of model calls",
    "nv_inference_request_duration_us": "Cumulative request duration in microseconds",
    "nv_inference_queue_duration_us": "Cumulative queueing duration in microseconds",
    "nv_inference_compute_input_duration_us": "Cumulative duration of decoding and preprocessing in microseconds",
    "nv_inference_compute_infer_duration_us": "Cumulative duration of model calls in microseconds, per request",
    "nv_inference_compute_output_duration_us": "Cumulative duration of computing predictions in microseconds",
    "tessella_request_failure_seconds_total": "Cumulative duration of failed requests in seconds",
    "tessella_batch_executions_total": "Number of model calls, by batch size",
    "tessella_batch_seconds_total": "Cumulative duration of model calls in seconds, by batch size",
    "tessella_images_failed_total": "Number of failed images, by error type",
    "tessella_batches_total": "Number of model calls, by dispatch reason: full, idle, delay or drain",
    "tessella_images_dropped_total": "Number of images dropped before a batch, by reason: cancelled or expired",
    "tessella_jit_compiles_total": "Number of kernels compiled and CUDA graphs captured after the warm-up",
    "tessella_responses_total": "Number of responses, by route and status; for gRPC by method and code",
    "tessella_restarts_total": "Number of process restarts, by kind of process",
}
HISTOGRAMS: Final = {
    "tessella_request_seconds": ("Request duration in seconds", _SECONDS),
    "tessella_decode_seconds": ("Decoding duration of one image in seconds", _SECONDS),
    "tessella_input_seconds": ("Preprocessing duration of one image in seconds", _SECONDS),
    "tessella_queue_seconds": ("Queueing duration of one image in seconds", _SECONDS),
    "tessella_output_seconds": ("Duration of computing one image's predictions in seconds", _SECONDS),
    "tessella_inference_seconds": ("Duration of one model call in seconds", _SECONDS),
    "tessella_batch_size": ("Number of images per model call", _SIZES),
}
GAUGES: Final = {
    "nv_inference_pending_request_count": "Number of images accepted and not yet finished",
    "tessella_last_inference_timestamp_seconds": "Unix time of the last model call, in seconds, by process",
    "tessella_resident_memory_bytes": "Resident memory size in bytes, by process",
    "nv_gpu_utilization": "GPU utilization rate, 0.0 to 1.0",
    "nv_gpu_memory_used_bytes": "GPU memory in use, in bytes",
    "nv_gpu_memory_total_bytes": "GPU memory in total, in bytes",
    "nv_gpu_power_usage": "GPU power usage in watts",
}


class Metrics:
    """Metrics of one process. Thread-safe; labels are keyword arguments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Labels], float] = defaultdict(float)
        self._buckets: dict[tuple[str, Labels], list[float]] = {}

    def count(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._values[name, _key(labels)] += value

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[name, _key(labels)] = value

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Observe a value of a histogram."""
        bounds = HISTOGRAMS[name][1]
        with self._lock:
            buckets = self._buckets.setdefault((name, _key(labels)), [0.0] * (len(bounds) + 2))
            buckets[bisect_left(bounds, value)] += 1
            buckets[-1] += value  # the last element is the sum

    def snapshot(self) -> Snapshot:
        """Snapshot of all metrics as JSON values, for `merge` and `render`."""
        with self._lock:
            return {
                "values": [[name, list(labels), value] for (name, labels), value in self._values.items()],
                "buckets": [[name, list(labels), list(row)] for (name, labels), row in self._buckets.items()],
            }


def _key(labels: dict[str, str]) -> Labels:
    return tuple(labels.items())


def resident_memory_bytes() -> int:
    """Resident memory of this process in bytes; 0 if the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Sum of snapshots: values of the same name and labels are added."""
    total = Metrics()
    for snapshot in snapshots:
        for name, labels, value in snapshot["values"]:
            total._values[name, tuple(map(tuple, labels))] += value
        for name, labels, row in snapshot["buckets"]:
            key = name, tuple(map(tuple, labels))
            total._buckets[key] = [a + b for a, b in zip(total._buckets.get(key, [0.0] * len(row)), row, strict=True)]
    return total.snapshot()


def without_gauges(snapshot: Snapshot) -> Snapshot:
    """Snapshot without gauges, to be kept of a process that has exited."""
    return snapshot | {"values": [row for row in snapshot["values"] if row[0] not in GAUGES]}


def render(snapshot: Snapshot) -> str:
    """Text format 0.0.4 of Prometheus. The client library would rename Triton's counters, which lack `_total`."""
    lines: list[str] = []
    for kind, names in (("counter", COUNTERS), ("gauge", GAUGES)):
        for name, description in names.items():
            lines += [f"# HELP {name} {description}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{_braces(labels)} {value}" for key, labels, value in snapshot["values"] if key == name]
    for name, (description, bounds) in HISTOGRAMS.items():
        lines += [f"# HELP {name} {description}", f"# TYPE {name} histogram"]
        for key, labels, row in snapshot["buckets"]:
            if key == name:
                lines += _histogram(name, labels, bounds, row)
    return "\n".join(lines) + "\n"


def _histogram(
    name: str, labels: Sequence[tuple[str, str]], bounds: tuple[float, ...], row: list[float]
) -> Iterator[str]:
    *counts, total = row
    for bound, count in zip([*map(str, bounds), "+Inf"], accumulate(counts), strict=True):
        yield f"{name}_bucket{_braces([*labels, ('le', bound)])} {count}"
    yield f"{name}_sum{_braces(labels)} {total}"
    yield f"{name}_count{_braces(labels)} {sum(counts)}"


def _braces(labels: Sequence[tuple[str, str]]) -> str:
    escaped = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels)
    return f"{{{','.join(escaped)}}}" if labels else ""

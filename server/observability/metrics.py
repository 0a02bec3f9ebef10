"""Counters and histograms of one process, their sum over all processes, and Prometheus' text of them.

The `nv_inference_*` names and meanings are Triton Inference Server's: its dashboards and autoscaling rules work.
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

COUNTERS: Final = {
    "nv_inference_request_success": "Requests answered",
    "nv_inference_request_failure": "Requests that got an error, by reason",
    "nv_inference_count": "Images that went through the model",
    "nv_inference_exec_count": "Model calls",
    "nv_inference_request_duration_us": "Microseconds from admission to answer, summed over requests",
    "nv_inference_queue_duration_us": "Microseconds waiting for the model, summed over requests",
    "nv_inference_compute_input_duration_us": "Microseconds decoding and preprocessing, summed over requests",
    "nv_inference_compute_infer_duration_us": "Microseconds in the model, summed over requests",
    "nv_inference_compute_output_duration_us": "Microseconds from logits to predictions, summed over requests",
    "tessella_request_failure_seconds_total": "Microseconds from admission to an error, summed over requests",
    "tessella_batch_executions_total": "Model calls by their number of images",
    "tessella_batch_seconds_total": "Microseconds in model calls by their number of images",
    "tessella_images_failed_total": "Images that got an error in their own place, by kind",
    "tessella_batches_total": "Model calls by what dispatched them: full batch, idle model, delay over, drain",
    "tessella_images_dropped_total": "Images that cost no batch: their client had gone, or their time was over",
    "tessella_jit_compiles_total": "Kernels compiled and CUDA graphs captured while a request waited; stays 0",
    "tessella_responses_total": "Responses by route and status; of gRPC by method and code",
    "tessella_restarts_total": "Processes that were started again",
}
HISTOGRAMS: Final = {
    "tessella_request_seconds": ("From admission to answer", _SECONDS),
    "tessella_decode_seconds": ("Decoding one image", _SECONDS),
    "tessella_input_seconds": ("Resizing and cropping one image", _SECONDS),
    "tessella_queue_seconds": ("One image waiting for the model", _SECONDS),
    "tessella_output_seconds": ("Making predictions of one image's logits", _SECONDS),
    "tessella_inference_seconds": ("One model call", _SECONDS),
    "tessella_batch_size": ("Images of one model call", _SIZES),
}
GAUGES: Final = {
    "nv_inference_pending_request_count": "Images accepted and not yet answered",
    "tessella_last_inference_timestamp_seconds": "When each process last ran a model, in seconds since 1970",
    "tessella_resident_memory_bytes": "Memory of each process",
    "nv_gpu_utilization": "How busy a GPU was lately, 0 to 1",
    "nv_gpu_memory_used_bytes": "Memory of a GPU that is in use",
    "nv_gpu_memory_total_bytes": "Memory that a GPU has",
    "nv_gpu_power_usage": "Watts that a GPU takes",
}


class Metrics:
    """What one process has counted. Every method from any thread; labels as keywords."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Labels], float] = defaultdict(float)
        self._buckets: dict[tuple[str, Labels], list[float]] = {}

    def count(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Adds to a counter."""
        with self._lock:
            self._values[name, _key(labels)] += value

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Sets a gauge."""
        with self._lock:
            self._values[name, _key(labels)] = value

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Puts a value into a histogram."""
        bounds = HISTOGRAMS[name][1]
        with self._lock:
            buckets = self._buckets.setdefault((name, _key(labels)), [0.0] * (len(bounds) + 2))
            buckets[bisect_left(bounds, value)] += 1
            buckets[-1] += value  # the sum stands last

    def snapshot(self) -> Snapshot:
        """Everything, as JSON values that `merge` and `render` take."""
        with self._lock:
            return {
                "values": [[name, list(labels), value] for (name, labels), value in self._values.items()],
                "buckets": [[name, list(labels), list(row)] for (name, labels), row in self._buckets.items()],
            }


def _key(labels: dict[str, str]) -> Labels:
    return tuple(labels.items())


def resident_memory_bytes() -> int:
    """Memory of this process that is in use; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Sums what has the same name and labels."""
    total = Metrics()
    for snapshot in snapshots:
        for name, labels, value in snapshot["values"]:
            total._values[name, tuple(map(tuple, labels))] += value
        for name, labels, row in snapshot["buckets"]:
            key = name, tuple(map(tuple, labels))
            total._buckets[key] = [a + b for a, b in zip(total._buckets.get(key, [0.0] * len(row)), row, strict=True)]
    return total.snapshot()


def without_gauges(snapshot: Snapshot) -> Snapshot:
    """What is left of a process that has ended."""
    return snapshot | {"values": [row for row in snapshot["values"] if row[0] not in GAUGES]}


def render(snapshot: Snapshot) -> str:
    """Prometheus' text format 0.0.4. Written here since its client library renames counters that lack `_total`."""
    lines: list[str] = []
    for kind, names in (("counter", COUNTERS), ("gauge", GAUGES)):
        for name, meaning in names.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            lines += [
                f"{name}{_braces(labels)} {value}" for found, labels, value in snapshot["values"] if found == name
            ]
    for name, (meaning, bounds) in HISTOGRAMS.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} histogram"]
        for found, labels, row in snapshot["buckets"]:
            if found == name:
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


_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

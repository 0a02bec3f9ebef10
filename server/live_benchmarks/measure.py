"""Measurement of a served model: calls with exact batch sizes on the model thread, interleaved with client requests.

A comparison with eager PyTorch alternates the two, so that noise of the machine affects both.
"""

import gc
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models import costs
from ...models.backend_timings import relative_spread
from ...models.config import TNTConfig, ViTConfig
from ...models.packages import installed
from ...models.preprocessing.images import Pixels
from ..engine.runner import Runner, RunnerInfo
from ..engine.worker import Worker
from .schemas import BenchmarkRow, Run

Call = Callable[[Runner, Sequence[Pixels]], Any]
_UPDATE_SECONDS = 0.1
_MAX_DIFFERENCE = 0.1


class Cancelled(Exception):
    """Cancellation of a run."""


class Measurement:
    """Measurement of one run on a worker. `run` blocks, so it needs a dedicated thread.

    Args:
        source: of the worker's model.
        on_update: called with every new state of the run, in the measuring thread.
        cancelled: set to end the run after its current call.
    """

    def __init__(
        self, worker: Worker, source: str, run: Run, on_update: Callable[[Run], None], cancelled: threading.Event
    ) -> None:
        self._worker = worker
        self._source = source
        self._run = run
        self._on_update = on_update
        self._cancelled = cancelled
        self._started = time.perf_counter()
        self._updated_at = 0.0
        self._flops = flops_per_image(worker.info)
        self._multiplications: list[tuple[Callable[[], None], int]] = []

    def run(self) -> None:
        """Run to the end: the last update has the state done, cancelled or failed."""
        try:
            self._measure()
        except Cancelled:
            self._publish(state="cancelled", stage="cancelled")
        except Exception as error:
            self._publish(state="failed", stage="failed", error=str(error) or repr(error))
        else:
            self._publish(state="done", stage="done")

    def _measure(self) -> None:
        request = self._run.request
        calls: dict[str, Call] = {"live": lambda runner, images: runner.run(np.stack(images))}
        each = (1 + (request.against is not None)) * (request.warmup + request.iterations)
        self._multiplications = self._matrix_multiplications()
        total = (each + len(self._multiplications)) * len(request.batch_sizes)
        self._publish(state="running", stage="starting", total=total)
        if request.against:
            self._publish(stage="loading the eager baseline")
            calls["eager"] = self._eager_call()
        try:
            for size in request.batch_sizes:
                self._measure_rate()
                rows = [*self._run.rows, self._row(size, calls)]
                self._publish(rows=with_roofline(rows, self._flops, self._run.matrix_rate))
        finally:
            self._free(calls)

    def _row(self, size: int, calls: Mapping[str, Call]) -> BenchmarkRow:
        request = self._run.request
        self._publish(stage=f"warming up batch {size}")
        side = self._worker.info.preprocessing.size
        images = list(np.random.default_rng(size).integers(0, 256, (size, side, side, 3), np.uint8))
        first, logits = {}, {}
        for name, call in calls.items():
            first[name], logits[name] = self._time(call, images)
            for _ in range(request.warmup - 1):
                self._time(call, images)
        if "eager" in logits:
            self._compare(logits["live"], logits["eager"])
        self._publish(stage=f"timing batch {size}")
        times: dict[str, list[float]] = {name: [] for name in calls}
        order = list(calls)
        for _ in range(request.iterations):
            for name in order:
                times[name].append(self._time(calls[name], images)[0])
            order.reverse()
        return benchmark_row(size, times, first["live"])

    def _time(self, call: Call, images: Sequence[Pixels]) -> tuple[float, NDArray[np.float32]]:
        """Duration in seconds and result of one call on the model thread, in the order of the queue."""

        def timed(runner: Runner) -> tuple[float, Any]:
            started = time.perf_counter()
            output = call(runner, images)
            return time.perf_counter() - started, output

        if self._cancelled.is_set():
            raise Cancelled
        result = self._worker.run_exclusive(timed).result()
        self._run = self._run.model_copy(update={"done": self._run.done + 1})
        if time.perf_counter() - self._updated_at > _UPDATE_SECONDS:
            self._publish()
        return result

    def _measure_rate(self) -> None:
        """Measure the matrix rate, before each batch size since other work may interfere; the maximum counts."""
        if self._multiplications:
            self._publish(stage="measuring the matrix rate")
        for multiply, flops in self._multiplications:
            seconds = self._time(lambda *_, multiply=multiply: multiply(), ())[0]
            self._run = self._run.model_copy(update={"matrix_rate": max(flops / seconds, self._run.matrix_rate or 0.0)})

    def _matrix_multiplications(self) -> list[tuple[Callable[[], None], int]]:
        """Matrix multiplications with their FLOPs; empty if the model's are unknown or torch is not installed."""
        if self._flops is None or not installed("torch"):
            return []
        from ...models.eager_baseline import matrix_multiplications

        info = self._worker.info
        return matrix_multiplications(device=info.device, dtype=info.dtype)

    def _eager_call(self) -> Call:
        from ...models.eager_baseline import load_eager_baseline

        info = self._worker.info
        plain = load_eager_baseline(self._source, device=info.device, dtype=info.dtype)
        return lambda _, images: plain(np.stack(images))

    def _free(self, calls: dict[str, Call]) -> None:
        """Free the memory of the baseline and of the matrix multiplications."""
        allocated = "eager" in calls or self._multiplications
        calls.clear()
        self._multiplications = []
        if allocated:
            from ...models.eager_baseline import release_cached_memory

            gc.collect()
            with suppress(RuntimeError):  # the model was unloaded, and its memory is freed
                self._worker.run_exclusive(lambda _: release_cached_memory(self._worker.info.device))

    def _compare(self, live: NDArray[np.float32], eager: NDArray[np.float32]) -> None:
        difference = float(np.sqrt(np.square(live - eager).mean() / np.square(eager).mean()))
        if not difference < _MAX_DIFFERENCE:
            raise ValueError(f"the logits differ from those of eager PyTorch: relative RMS difference {difference:.2g}")
        self._run = self._run.model_copy(update={"difference": max(difference, self._run.difference or 0.0)})

    def _publish(self, **changes: Any) -> None:
        self._updated_at = time.perf_counter()
        seconds = round(self._updated_at - self._started, 3)
        self._run = self._run.model_copy(update={"seconds": seconds, **changes})
        self._on_update(self._run)


def flops_per_image(info: RunnerInfo) -> int | None:
    """FLOPs of the published network for one image, two per multiply-accumulate; None for a foreign ONNX file."""
    match info.family:
        case "vit" if info.config:
            return 2 * costs.macs(ViTConfig(**info.config))
        case "tnt" if info.config:
            return 2 * costs.macs(TNTConfig(**info.config))
    return None


def with_roofline(rows: Sequence[BenchmarkRow], flops: int | None, rate: float | None) -> list[BenchmarkRow]:
    """Rows with their percentage of the matrix rate, if both are known.

    Args:
        flops: FLOPs of one image.
        rate: FLOPs per second of a large matrix multiplication on this machine.
    """
    if flops is None or rate is None:
        return list(rows)
    percent = [100 * flops * row.batch_size / (row.p50_ms / 1e3) / rate for row in rows]
    return [row.model_copy(update={"roofline_percent": round(p, 2)}) for row, p in zip(rows, percent, strict=True)]


def benchmark_row(batch_size: int, times: Mapping[str, Sequence[float]], first: float) -> BenchmarkRow:
    """Statistics of one batch size.

    Args:
        times: seconds of each call of "live", and of "eager" if it was measured.
        first: seconds of the first call.
    """
    live = times["live"]
    p50, p95, p99 = np.percentile(live, [50, 95, 99])
    comparison: dict[str, float] = {}
    if "eager" in times:
        eager = statistics.median(times["eager"])
        comparison |= {
            "eager_p50_ms": milliseconds(eager),
            "eager_images_per_second": round(batch_size / eager, 2),
            "speedup": round(eager / p50, 3),
        }
    return BenchmarkRow(
        batch_size=batch_size,
        iterations=len(live),
        first_ms=milliseconds(first),
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), map(milliseconds, (p50, p95, p99)), strict=True)),
        spread=round(relative_spread(live), 4),
        images_per_second=round(batch_size / p50, 2),
        **comparison,
    )


def milliseconds(seconds: float) -> float:
    """Milliseconds, rounded to 0.1 µs."""
    return round(float(seconds) * 1e3, 4)

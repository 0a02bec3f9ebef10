"""Measures a live model: calls with exact batch sizes in the model's own thread, in turn with what clients send.

Where eager PyTorch is measured too, both are called in turns, so that a noisy machine is noisy for both.
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


def operations_of(info: RunnerInfo) -> int | None:
    """Of the published network, for one image: two per multiply-accumulate. None for an ONNX file of other makers."""
    match info.family:
        case "vit" if info.config:
            return 2 * costs.macs(ViTConfig(**info.config))
        case "tnt" if info.config:
            return 2 * costs.macs(TNTConfig(**info.config))
    return None


def rated(rows: Sequence[BenchmarkRow], operations: int | None, rate: float | None) -> list[BenchmarkRow]:
    """With their percentage of the matrix rate, where both are known.

    Args:
        operations: of one image.
        rate: operations per second that the machine reaches.
    """
    if operations is None or rate is None:
        return list(rows)
    percent = [100 * operations * row.batch_size / (row.p50_ms / 1e3) / rate for row in rows]
    return [row.model_copy(update={"roofline_percent": round(p, 2)}) for row, p in zip(rows, percent, strict=True)]


def row(size: int, times: Mapping[str, Sequence[float]], first: float) -> BenchmarkRow:
    """What the seconds of each call mean.

    Args:
        times: of `live`, and of `eager` where that was measured.
        first: seconds of the first call of all.
    """
    live = times["live"]
    p50, p95, p99 = np.percentile(live, [50, 95, 99])
    found: dict[str, float] = {}
    if "eager" in times:
        eager = statistics.median(times["eager"])
        found |= {
            "eager_p50_ms": ms(eager),
            "eager_images_per_second": round(size / eager, 2),
            "speedup": round(eager / p50, 3),
        }
    return BenchmarkRow(
        batch_size=size,
        iterations=len(live),
        first_ms=ms(first),
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), map(ms, (p50, p95, p99)), strict=True)),
        spread=round(relative_spread(live), 4),
        images_per_second=round(size / p50, 2),
        **found,
    )


def ms(seconds: float) -> float:
    return round(float(seconds) * 1e3, 4)


Call = Callable[[Runner, Sequence[Pixels]], Any]
_REPORT_SECONDS = 0.1
_MOST_DIFFERENCE = 0.1


class Cancelled(Exception):
    """The run is no longer wanted."""


class Measurement:
    """One run on a worker. `run` blocks: it wants a thread of its own.

    Args:
        source: the checkpoint that the worker's model was loaded from.
        report: told of every change, in the measuring thread.
        cancelled: set, it ends after the call that is running.
    """

    def __init__(
        self, worker: Worker, source: str, run: Run, report: Callable[[Run], None], cancelled: threading.Event
    ) -> None:
        self._worker = worker
        self._source = source
        self._run = run
        self._report = report
        self._cancelled = cancelled
        self._started = time.perf_counter()
        self._reported = 0.0
        self._operations = operations_of(worker.info)
        self._products: list[tuple[Callable[[], None], int]] = []

    def run(self) -> None:
        """Until the end, whatever that is: the last report says it."""
        try:
            self._measure()
        except Cancelled:
            self._say(state="cancelled", stage="cancelled")
        except Exception as error:
            self._say(state="failed", stage="failed", error=str(error) or repr(error))
        else:
            self._say(state="done", stage="done")

    def _measure(self) -> None:
        request = self._run.request
        calls: dict[str, Call] = {"live": lambda runner, images: runner.run(np.stack(images))}
        each = (1 + (request.against is not None)) * (request.warmup + request.iterations)
        self._products = self._known_products()
        total = (each + len(self._products)) * len(request.batch_sizes)
        self._say(state="running", stage="beginning", total=total)
        if request.against:
            self._say(stage="loading the plain network")
            calls["eager"] = self._eager()
        try:
            for size in request.batch_sizes:
                self._measure_rate()
                found = [*self._run.rows, self._row(size, calls)]
                self._say(rows=rated(found, self._operations, self._run.matrix_rate))
        finally:
            self._free(calls)

    def _row(self, size: int, calls: Mapping[str, Call]) -> BenchmarkRow:
        request = self._run.request
        self._say(stage=f"warming up batch {size}")
        side = self._worker.info.preprocessing.size
        images = list(np.random.default_rng(size).integers(0, 256, (size, side, side, 3), np.uint8))
        first, logits = {}, {}
        for name, call in calls.items():
            first[name], logits[name] = self._time(call, images)
            for _ in range(request.warmup - 1):
                self._time(call, images)
        if "eager" in logits:
            self._compare(logits["live"], logits["eager"])
        self._say(stage=f"timing batch {size}")
        times: dict[str, list[float]] = {name: [] for name in calls}
        order = list(calls)
        for _ in range(request.iterations):
            for name in order:
                times[name].append(self._time(calls[name], images)[0])
            order.reverse()
        return row(size, times, first["live"])

    def _time(self, call: Call, images: Sequence[Pixels]) -> tuple[float, NDArray[np.float32]]:
        """Seconds of one call in the model's thread, when its turn has come, and what it gave."""

        def timed(runner: Runner) -> tuple[float, Any]:
            started = time.perf_counter()
            given = call(runner, images)
            return time.perf_counter() - started, given

        if self._cancelled.is_set():
            raise Cancelled
        found = self._worker.run_exclusive(timed).result()
        self._run = self._run.model_copy(update={"done": self._run.done + 1})
        if time.perf_counter() - self._reported > _REPORT_SECONDS:
            self._say()
        return found

    def _measure_rate(self) -> None:
        """Anew before each batch size, as other work may have disturbed; the best counts."""
        if self._products:
            self._say(stage="measuring the matrix rate")
        for multiply, operations in self._products:
            seconds = self._time(lambda *_, multiply=multiply: multiply(), ())[0]
            self._run = self._run.model_copy(
                update={"matrix_rate": max(operations / seconds, self._run.matrix_rate or 0.0)}
            )

    def _known_products(self) -> list[tuple[Callable[[], None], int]]:
        """None where the model's own operations are not known, or PyTorch is not there to multiply."""
        if self._operations is None or not installed("torch"):
            return []
        from ...models.eager_baseline import matrix_multiplications

        info = self._worker.info
        return matrix_multiplications(device=info.device, dtype=info.dtype)

    def _eager(self) -> Call:
        from ...models.eager_baseline import load_eager_baseline

        info = self._worker.info
        plain = load_eager_baseline(self._source, device=info.device, dtype=info.dtype)
        return lambda _, images: plain(np.stack(images))

    def _free(self, calls: dict[str, Call]) -> None:
        """What was made for this run alone takes memory no longer."""
        taken = "eager" in calls or self._products
        calls.clear()
        self._products = []
        if taken:
            from ...models.eager_baseline import release_cached_memory

            gc.collect()
            with suppress(RuntimeError):  # the model is gone, and its memory with it
                self._worker.run_exclusive(lambda _: release_cached_memory(self._worker.info.device))

    def _compare(self, live: NDArray[np.float32], eager: NDArray[np.float32]) -> None:
        difference = float(np.sqrt(np.square(live - eager).mean() / np.square(eager).mean()))
        if not difference < _MOST_DIFFERENCE:
            raise ValueError(f"the logits are not those of eager PyTorch: relative rms difference {difference:.2g}")
        self._run = self._run.model_copy(update={"difference": max(difference, self._run.difference or 0.0)})

    def _say(self, **news: Any) -> None:
        self._reported = time.perf_counter()
        seconds = round(self._reported - self._started, 3)
        self._run = self._run.model_copy(update={"seconds": seconds, **news})
        self._report(self._run)

"""Recorders of request and batch metrics."""

import os
import time
from collections.abc import Sequence

from ..errors import DeadlineExceeded, InferenceFailed, Overloaded, ServiceError
from ..observability.metrics import Metrics
from .results import ImageResult

_FAILURE_REASONS: dict[type[ServiceError], str] = {
    Overloaded: "REJECTED",
    DeadlineExceeded: "CANCELED",
    InferenceFailed: "BACKEND",
}
"""Triton's failure reasons; any other error is OTHER."""


class RequestRecorder:
    """Request metrics of one model, recorded by the process that accepts the requests."""

    def __init__(self, metrics: Metrics, model: str, version: int = 1) -> None:
        self._metrics = metrics
        self._labels = {"model": model, "version": str(version)}

    def add_pending(self, count: int) -> None:
        """Add to the pending images (negative: subtract); an engine and the one that replaces it share the gauge."""
        self._metrics.count("nv_inference_pending_request_count", count, **self._labels)

    def record_failure(self, error: ServiceError, seconds: float = 0.0) -> None:
        """Record a request that failed as a whole after `seconds`."""
        reason = _FAILURE_REASONS.get(type(error), "OTHER")
        self._metrics.count("nv_inference_request_failure", reason=reason, **self._labels)
        self._metrics.count("tessella_request_failure_seconds_total", seconds, **self._labels)

    def record_results(self, results: Sequence[ImageResult | ServiceError], seconds: float) -> None:
        """Record a request with one result per image; it counts as failed if all images failed."""
        done = [result for result in results if isinstance(result, ImageResult)]
        errors = [result for result in results if isinstance(result, ServiceError)]
        for error in errors:
            self._metrics.count("tessella_images_failed_total", error_type=error.error_type, **self._labels)
        if not done:
            self.record_failure(errors[0], seconds)
            return
        self._metrics.count("nv_inference_request_success", **self._labels)
        for name, value in {
            "request": seconds,
            "queue": max(result.queue_seconds for result in done),
            "compute_input": max(result.decode_seconds + result.input_seconds for result in done),
            "compute_infer": max(result.inference_seconds for result in done),
            "compute_output": max(result.output_seconds for result in done),
        }.items():
            self._metrics.count(f"nv_inference_{name}_duration_us", round(value * 1e6), **self._labels)
        self._metrics.observe("tessella_request_seconds", seconds, **self._labels)
        for result in done:
            for stage in ("decode", "input", "queue", "output"):
                self._metrics.observe(f"tessella_{stage}_seconds", result.stages[stage], **self._labels)


class BatchRecorder:
    """Batch metrics of one model, recorded by the process that runs it."""

    def __init__(self, metrics: Metrics, model: str, version: int = 1) -> None:
        self._metrics = metrics
        self._labels = {"model": model, "version": str(version)}

    def record_batch(self, batch_size: int, seconds: float, reason: str) -> None:
        """Record a model call and the reason of its dispatch."""
        self._metrics.count("nv_inference_exec_count", **self._labels)
        self._metrics.count("nv_inference_count", batch_size, **self._labels)
        self._metrics.count("tessella_batches_total", reason=reason, **self._labels)
        self._metrics.observe("tessella_batch_size", batch_size, **self._labels)
        self._metrics.observe("tessella_inference_seconds", seconds, **self._labels)
        size = str(batch_size)
        self._metrics.count("tessella_batch_executions_total", **self._labels, batch_size=size)
        self._metrics.count("tessella_batch_seconds_total", seconds, **self._labels, batch_size=size)
        self._metrics.set(
            "tessella_last_inference_timestamp_seconds", time.time(), **self._labels, process=str(os.getpid())
        )

    def record_compiles(self, count: int) -> None:
        """Record compilations after the warm-up; 0 creates the time series."""
        self._metrics.count("tessella_jit_compiles_total", count, **self._labels)

    def record_dropped(self, reason: str) -> None:
        """Record an image dropped before it was in a batch."""
        self._metrics.count("tessella_images_dropped_total", reason=reason, **self._labels)

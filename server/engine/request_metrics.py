"""What is counted of requests and of model calls, under which names."""

import os
import time
from collections.abc import Sequence

from ..errors import DeadlineExceeded, InferenceFailed, Overloaded, ServiceError
from ..observability.metrics import Metrics
from .results import ImageResult

_REASONS: dict[type[ServiceError], str] = {
    Overloaded: "REJECTED",
    DeadlineExceeded: "CANCELED",
    InferenceFailed: "BACKEND",
}


class RequestRecorder:
    """Counts the requests to one model, where they are accepted."""

    def __init__(self, metrics: Metrics, model: str, version: int = 1) -> None:
        self._metrics = metrics
        self._labels = {"model": model, "version": str(version)}

    def pending(self, more: int) -> None:
        """So many images more, or fewer, are accepted and not yet answered: an engine and its successor add up."""
        self._metrics.count("nv_inference_pending_request_count", more, **self._labels)

    def failed(self, error: ServiceError, seconds: float = 0.0) -> None:
        """A request that got an error as a whole, after so many seconds."""
        reason = _REASONS.get(type(error), "OTHER")
        self._metrics.count("nv_inference_request_failure", reason=reason, **self._labels)
        self._metrics.count("tessella_request_failure_seconds_total", seconds, **self._labels)

    def answered(self, results: Sequence[ImageResult | ServiceError], seconds: float) -> None:
        """A request whose images each have their result. One without any answer counts as failed."""
        done = [result for result in results if isinstance(result, ImageResult)]
        errors = [result for result in results if isinstance(result, ServiceError)]
        for error in errors:
            self._metrics.count("tessella_images_failed_total", error_type=error.error_type, **self._labels)
        if not done:
            self.failed(errors[0], seconds)
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
    """Counts the calls of one model, where they are made."""

    def __init__(self, metrics: Metrics, model: str, version: int = 1) -> None:
        self._metrics = metrics
        self._labels = {"model": model, "version": str(version)}

    def ran(self, batch_size: int, seconds: float, reason: str) -> None:
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

    def compiled(self, times: int) -> None:
        self._metrics.count("tessella_jit_compiles_total", times, **self._labels)

    def dropped(self, reason: str) -> None:
        """An image that reached no batch."""
        self._metrics.count("tessella_images_dropped_total", reason=reason, **self._labels)

"""Recorders of request and batch metrics."""

from typing import Any

import pytest

from tessella.server.engine.request_metrics import BatchRecorder, RequestRecorder
from tessella.server.engine.results import ImageResult
from tessella.server.errors import DeadlineExceeded, ImageError, InferenceFailed, NotReady, Overloaded, ServiceError
from tessella.server.observability.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics

MODEL = [["model", "m"], ["version", "2"]]


def values_of(metrics: Metrics) -> dict[str, Any]:
    return {name: value for name, _, value in metrics.snapshot()["values"]}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Overloaded("full"), "REJECTED"),
        (DeadlineExceeded("late"), "CANCELED"),
        (InferenceFailed("no memory"), "BACKEND"),
        (NotReady("loading"), "OTHER"),
    ],
)
def test_failed_request_has_a_reason_and_a_duration(error: ServiceError, reason: str) -> None:
    metrics = Metrics()
    RequestRecorder(metrics, "m", 2).record_failure(error, 0.5)
    assert [[name, [list(pair) for pair in labels], value] for name, labels, value in metrics.snapshot()["values"]] == [
        ["nv_inference_request_failure", [["reason", reason], *MODEL], 1],
        ["tessella_request_failure_seconds_total", MODEL, 0.5],
    ]


def test_request_counts_its_slowest_image_and_each_failed_one() -> None:
    metrics = Metrics()
    fast = ImageResult(batch_size=1, decode_seconds=0.001, queue_seconds=0.002, inference_seconds=0.003)
    slow = ImageResult(batch_size=1, decode_seconds=0.1, input_seconds=0.2, queue_seconds=0.4, inference_seconds=0.5)
    RequestRecorder(metrics, "m", 2).record_results([fast, ImageError("no image"), slow], 1.5)
    values = values_of(metrics)
    assert values.pop("tessella_images_failed_total") == 1
    assert values == {
        "nv_inference_request_success": 1,
        "nv_inference_request_duration_us": 1_500_000,
        "nv_inference_queue_duration_us": 400_000,
        "nv_inference_compute_input_duration_us": 300_000,
        "nv_inference_compute_infer_duration_us": 500_000,
        "nv_inference_compute_output_duration_us": 0,
    }
    counts = {name: sum(row[:-1]) for name, _, row in metrics.snapshot()["buckets"]}
    stages = ("decode", "input", "queue", "output")
    assert counts == {"tessella_request_seconds": 1} | {f"tessella_{stage}_seconds": 2 for stage in stages}


def test_request_without_a_single_result_has_failed() -> None:
    metrics = Metrics()
    RequestRecorder(metrics, "m").record_results([ImageError("no image")], 1.0)
    assert "nv_inference_request_success" not in values_of(metrics)
    assert values_of(metrics)["nv_inference_request_failure"] == 1


def test_batch_is_counted_by_size_and_reason() -> None:
    metrics = Metrics()
    recorder = BatchRecorder(metrics, "m", 2)
    recorder.record_batch(4, 0.25, "full")
    recorder.record_batch(4, 0.5, "full")
    recorder.record_dropped("expired")
    recorder.record_compiles(0)
    values = values_of(metrics)
    assert (values["nv_inference_exec_count"], values["nv_inference_count"]) == (2, 8)
    assert (values["tessella_batch_executions_total"], values["tessella_batch_seconds_total"]) == (2, 0.75)
    assert (values["tessella_images_dropped_total"], values["tessella_jit_compiles_total"]) == (1, 0)


def test_every_recorded_metric_is_documented() -> None:
    metrics = Metrics()
    RequestRecorder(metrics, "m").record_failure(NotReady("loading"))
    recorder = BatchRecorder(metrics, "m")
    recorder.record_batch(1, 0.1, "idle")
    recorder.record_dropped("cancelled")
    snapshot = metrics.snapshot()
    assert {name for name, _, _ in snapshot["values"]} <= {*COUNTERS, *GAUGES}
    assert {name for name, _, _ in snapshot["buckets"]} <= set(HISTOGRAMS)

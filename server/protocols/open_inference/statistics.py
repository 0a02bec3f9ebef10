"""The statistics extension, read from the one book there is: the metrics of all processes."""

from collections import defaultdict
from collections.abc import Iterable

from ...metrics import Snapshot
from .documents import BatchStatistics, Duration, InferStatistics, ModelStatistics, Statistics

_TIMED = ("queue", "compute_input", "compute_infer", "compute_output")


def statistics(snapshot: Snapshot, models: Iterable[tuple[str, str]]) -> Statistics:
    """What has been counted of `models`, given by name and version.

    Times are sums over requests, of each request's slowest image. In `batch_stats` decoding and the making of
    predictions take no time: they are done per image, outside of the batch.
    """
    return Statistics(model_stats=[_of_model(snapshot, name, version) for name, version in models])


def _of_model(snapshot: Snapshot, model: str, version: str) -> ModelStatistics:
    totals: dict[str, int] = defaultdict(int)
    batches: dict[int, dict[str, int]] = defaultdict(dict)
    last = 0.0
    for name, pairs, value in snapshot["values"]:
        labels = dict(pairs)
        if (labels.get("model"), labels.get("version")) != (model, version):
            continue
        if "batch_size" in labels:
            batches[int(labels["batch_size"])][name] = round(value)
        elif name == "tessella_last_inference_timestamp_seconds":
            last = max(last, value)
        else:
            totals[name] += round(value)
    answered = totals["nv_inference_request_success"]

    def spent(part: str) -> Duration:
        return Duration(count=answered, ns=totals[f"nv_inference_{part}_duration_us"] * 1000)

    failed = Duration(
        count=totals["nv_inference_request_failure"], ns=totals["tessella_request_failure_duration_us"] * 1000
    )
    return ModelStatistics(
        name=model,
        version=version,
        last_inference=round(last * 1e3),
        inference_count=totals["nv_inference_count"],
        execution_count=totals["nv_inference_exec_count"],
        inference_stats=InferStatistics(
            success=spent("request"), fail=failed, **{part: spent(part) for part in _TIMED}
        ),
        batch_stats=[_of_batch(size, counted) for size, counted in sorted(batches.items())],
    )


def _of_batch(size: int, counted: dict[str, int]) -> BatchStatistics:
    calls = counted.get("tessella_batch_executions", 0)
    elapsed = Duration(count=calls, ns=counted.get("tessella_batch_duration_us", 0) * 1000)
    outside = Duration(count=calls)
    return BatchStatistics(batch_size=size, compute_input=outside, compute_infer=elapsed, compute_output=outside)

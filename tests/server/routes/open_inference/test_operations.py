"""Operations: statistics in nanoseconds from the metrics of all processes."""

from tessella.server.engine.request_metrics import BatchRecorder, RequestRecorder
from tessella.server.engine.results import Classification
from tessella.server.errors import DeadlineExceeded, ServiceError
from tessella.server.observability.metrics import Metrics, merge
from tessella.server.routes.open_inference.metadata import Duration
from tessella.server.routes.open_inference.operations import build_statistics


def answered(decode: float = 0.0, queue: float = 0.0, inference: float = 0.0, output: float = 0.0) -> Classification:
    return Classification(
        predictions=(),
        batch_size=1,
        decode_seconds=decode,
        queue_seconds=queue,
        inference_seconds=inference,
        output_seconds=output,
    )


def test_statistics_sum_over_front_ends_and_engines() -> None:
    front_ends, engine = (Metrics(), Metrics()), Metrics()
    slow = answered(decode=0.002, queue=0.003, inference=0.004, output=0.001)
    for metrics in front_ends:
        RequestRecorder(metrics, "a", 2).record_results([answered(), slow], 0.01)
    RequestRecorder(front_ends[0], "a", 2).record_failure(DeadlineExceeded("late"), 0.5)
    RequestRecorder(front_ends[1], "a", 2).record_results([ServiceError("no image")], 0.25)
    RequestRecorder(front_ends[1], "a", 1).record_results([slow], 9.0)
    for size, seconds in ((3, 0.006), (3, 0.004), (1, 0.002)):
        BatchRecorder(engine, "a", 2).record_batch(size, seconds, "idle")
    BatchRecorder(engine, "b", 2).record_batch(8, 1.0, "full")

    (model,) = build_statistics(merge(m.snapshot() for m in (*front_ends, engine)), [("a", "2")]).model_stats
    assert (model.name, model.version, model.inference_count, model.execution_count) == ("a", "2", 7, 3)
    assert model.last_inference > 1_700_000_000_000
    stats = model.inference_stats
    assert stats.success == Duration(count=2, ns=20_000_000)
    assert stats.fail == Duration(count=2, ns=750_000_000)
    assert stats.queue == Duration(count=2, ns=6_000_000)
    assert stats.compute_input == Duration(count=2, ns=4_000_000)
    assert stats.compute_infer == Duration(count=2, ns=8_000_000)
    assert stats.compute_output == Duration(count=2, ns=2_000_000)
    assert [(batch.batch_size, batch.compute_infer) for batch in model.batch_stats] == [
        (1, Duration(count=1, ns=2_000_000)),
        (3, Duration(count=2, ns=10_000_000)),
    ]


def test_statistics_of_an_unused_model_are_zero() -> None:
    (model,) = build_statistics(merge([]), [("a", "1")]).model_stats
    assert (model.inference_count, model.last_inference, model.batch_stats) == (0, 0, [])
    assert model.inference_stats.success == Duration(count=0, ns=0)

"""Statistics are the metrics of all processes in another form: the same numbers, in nanoseconds."""

from tessella.server.engine.request_metrics import BatchRecorder, RequestRecorder
from tessella.server.engine.results import Classification
from tessella.server.errors import DeadlineExceeded, ServiceError
from tessella.server.observability.metrics import Metrics, merge
from tessella.server.routes.open_inference.metadata import Duration
from tessella.server.routes.open_inference.operations import compute_row_statistics


def answered(decode: float = 0.0, queue: float = 0.0, inference: float = 0.0, output: float = 0.0) -> Classification:
    return Classification(
        predictions=(),
        batch_size=1,
        decode_seconds=decode,
        queue_seconds=queue,
        inference_seconds=inference,
        output_seconds=output,
    )


def test_requests_of_two_front_ends_and_batches_of_an_engine_add_up() -> None:
    front_ends, engine = (Metrics(), Metrics()), Metrics()
    slow = answered(decode=0.002, queue=0.003, inference=0.004, output=0.001)
    for metrics in front_ends:
        RequestRecorder(metrics, "a", 2).answered([answered(), slow], 0.01)
    RequestRecorder(front_ends[0], "a", 2).failed(DeadlineExceeded("late"), 0.5)
    RequestRecorder(front_ends[1], "a", 2).answered([ServiceError("no image")], 0.25)
    RequestRecorder(front_ends[1], "a", 1).answered([slow], 9.0)
    for size, seconds in ((3, 0.006), (3, 0.004), (1, 0.002)):
        BatchRecorder(engine, "a", 2).ran(size, seconds, "idle")
    BatchRecorder(engine, "b", 2).ran(8, 1.0, "full")

    (found,) = compute_row_statistics(merge(m.snapshot() for m in (*front_ends, engine)), [("a", "2")]).model_stats
    assert (found.name, found.version, found.inference_count, found.execution_count) == ("a", "2", 7, 3)
    assert found.last_inference > 1_700_000_000_000
    took = found.inference_stats
    assert took.success == Duration(count=2, ns=20_000_000)
    assert took.fail == Duration(count=2, ns=750_000_000)
    assert took.queue == Duration(count=2, ns=6_000_000)
    assert took.compute_input == Duration(count=2, ns=4_000_000)
    assert took.compute_infer == Duration(count=2, ns=8_000_000)
    assert took.compute_output == Duration(count=2, ns=2_000_000)
    assert [(batch.batch_size, batch.compute_infer) for batch in found.batch_stats] == [
        (1, Duration(count=1, ns=2_000_000)),
        (3, Duration(count=2, ns=10_000_000)),
    ]


def test_what_was_never_asked_has_counted_nothing() -> None:
    (found,) = compute_row_statistics(merge([]), [("a", "1")]).model_stats
    assert (found.inference_count, found.last_inference, found.batch_stats) == (0, 0, [])
    assert found.inference_stats.success == Duration(count=0, ns=0)

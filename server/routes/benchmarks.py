"""Benchmark routes below `/benchmarks`: measure the served models, follow progress, read results."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ..errors import BenchmarkNotFound, NotReady
from ..http.auth import require_admin
from ..http.body import parse_json, read_body
from ..http.error_responses import ERROR_RESPONSES
from ..http.openapi import json_request_body
from ..http.service import service_of
from ..live_benchmarks.history import History
from ..live_benchmarks.runner import BenchmarkService, plan_run
from ..live_benchmarks.schemas import BenchmarkRequest, BenchmarkRow, BenchmarksResponse, Run

router = APIRouter(tags=["benchmarks"])
_REQUEST_BODY = json_request_body(BenchmarkRequest, quick={"batch_sizes": [1, 2], "iterations": 3, "warmup": 1})
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
_POLL_SECONDS = 1.0
_KEEPALIVE_POLLS = 15
"""Polls without an event after which a comment is sent, so that proxies keep the connection open."""


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


def benchmarks_of(request: Request) -> BenchmarkService:
    return cast(BenchmarkService, service_of(request).benchmarks)


@router.post(
    "/benchmarks",
    summary="Start a benchmark of a served model",
    status_code=202,
    response_model=Run,
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(400, 403, 404, 409, 413, 415, 429, 503),
    openapi_extra=_REQUEST_BODY,
)
async def start_benchmark(request: Request) -> Response:
    """Run model calls of exact batch sizes through the model's queue, where a client's image waits for at most one.

    One benchmark runs at a time: a second one is rejected with 409. While the model has images in its queue, the status
    is 429 unless `force` is true.
    """
    service = service_of(request)
    options = parse_json(await read_body(request), BenchmarkRequest)
    if service.draining:
        raise NotReady("benchmark not started: the service is shutting down")
    run = await benchmarks_of(request).start(*plan_run(options, service.repository))
    return JSONResponse(run.model_dump(mode="json"), 202, {"location": f"/benchmarks/{run.id}"})


@router.get("/benchmarks", summary="List the latest benchmarks")
async def benchmarks(request: Request) -> BenchmarksResponse:
    return BenchmarksResponse(benchmarks=benchmarks_of(request).history.runs)


@router.get(
    "/benchmarks/{id}.csv",
    summary="Get the results of a benchmark as CSV",
    response_class=Response,
    responses=_CSV | ERROR_RESPONSES.only(404),
)
async def results_csv(request: Request, id: str) -> Response:
    return _csv(benchmarks_of(request).history.get(id))


@router.get(
    "/benchmarks/{id}/events",
    summary="Follow a running benchmark",
    response_class=EventStream,
    responses=ERROR_RESPONSES.only(404),
)
async def benchmark_events(request: Request, id: str) -> EventStream:
    """Server-sent events: `progress` (the run without results), `result` (one row), `end` (the whole run)."""
    service, history = service_of(request), benchmarks_of(request).history
    history.get(id)
    stream = events(history, id, lambda: service.draining)
    return EventStream(stream, headers={"cache-control": "no-store"})


@router.get(
    "/benchmarks/{id}", summary="Get a benchmark", response_model=Run, responses=_CSV | ERROR_RESPONSES.only(404)
)
async def benchmark(request: Request, id: str) -> Response:
    """Benchmark as JSON, or as CSV if the header `Accept` contains `text/csv`."""
    run = benchmarks_of(request).history.get(id)
    if "text/csv" in request.headers.get("accept", ""):
        return _csv(run)
    return JSONResponse(run.model_dump(mode="json"))


@router.delete(
    "/benchmarks/{id}",
    summary="Cancel a benchmark",
    dependencies=[Depends(require_admin)],
    responses=ERROR_RESPONSES.only(403, 404),
)
async def cancel_benchmark(request: Request, id: str) -> Run:
    """End the benchmark after the current model call and keep its results. A finished benchmark is unchanged."""
    service_benchmarks = benchmarks_of(request)
    run = service_benchmarks.history.get(id)
    service_benchmarks.cancel(id)
    return run


async def events(history: History, id: str, stopped: Callable[[], bool]) -> AsyncIterator[str]:
    """Server-sent events of a run: `progress` (without results), `result` (one row), and finally `end` (the whole run).

    Args:
        stopped: whether the service is shutting down, which ends the stream early.
    """
    last: Run | None = None
    idle_polls = 0
    while not stopped():
        try:
            run = history.get(id)
        except BenchmarkNotFound:  # rejected after it was announced
            return
        if run is not last:
            for row in run.rows[len(last.rows) if last else 0 :]:
                yield event("result", row.model_dump_json())
            yield event("progress", run.model_dump_json(exclude={"rows"}))
            last, idle_polls = run, 0
        if run.ended:
            yield event("end", run.model_dump_json())
            return
        await history.wait_for_update(_POLL_SECONDS)
        idle_polls += 1
        if idle_polls == _KEEPALIVE_POLLS:
            yield ": still running\n\n"
            idle_polls = 0


def event(kind: str, data: str) -> str:
    """Format a server-sent event with `data`, a JSON text."""
    return f"event: {kind}\ndata: {json.dumps(json.loads(data), separators=(',', ':'))}\n\n"


def _csv(run: Run) -> Response:
    columns = {
        "benchmark": run.id,
        "model": run.model,
        "version": run.version,
        "backend": run.backend,
        "device": run.device,
        "dtype": run.dtype,
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *BenchmarkRow.model_fields])
    writer.writeheader()
    writer.writerows(columns | row.model_dump() for row in run.rows)
    return Response(
        text.getvalue(),
        media_type="text/csv",
        headers={"content-disposition": f'attachment; filename="benchmark-{run.id}.csv"', "vary": "accept"},
    )

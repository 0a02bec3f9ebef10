"""`/benchmarks`: measure the live models, watch it, read the results."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError

from ..errors import BadRequest, BenchmarkNotFound, NotReady
from ..http.auth import require_admin
from ..http.body import read_body
from ..http.error_responses import ERRORS
from ..http.image_inputs import explain
from ..http.openapi import json_body
from ..http.service import service_of
from ..live_benchmarks.history import Book
from ..live_benchmarks.runner import Benchmarks, plan
from ..live_benchmarks.schemas import BenchmarkRequest, BenchmarkRow, Run, RunsAnswer

_LOOK_SECONDS, _QUIET_LOOKS = 1.0, 15


async def events(book: Book, id: str, over: Callable[[], bool]) -> AsyncIterator[str]:
    """`progress` (the run without its results), `result` (one row), and at the end `end` (the whole run).

    Args:
        over: whether the service shuts down; the stream then ends early.
    """
    seen: Run | None = None
    quiet = 0
    while not over():
        try:
            run = book.get(id)
        except BenchmarkNotFound:  # refused after all
            return
        if run is not seen:
            for row in run.rows[len(seen.rows) if seen else 0 :]:
                yield event("result", row.model_dump_json())
            yield event("progress", run.model_dump_json(exclude={"rows"}))
            seen, quiet = run, 0
        if run.ended:
            yield event("end", run.model_dump_json())
            return
        await book.changed(_LOOK_SECONDS)
        quiet += 1
        if quiet == _QUIET_LOOKS:  # so that nothing between takes the connection for dead
            yield ": still running\n\n"
            quiet = 0


def event(kind: str, data: str) -> str:
    return f"event: {kind}\ndata: {json.dumps(json.loads(data), separators=(',', ':'))}\n\n"


router = APIRouter(tags=["benchmarks"])
_BODY = json_body(BenchmarkRequest, quick={"batch_sizes": [1, 2], "iterations": 3, "warmup": 1})
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


def benchmarks_of(request: Request) -> Benchmarks:
    return cast(Benchmarks, service_of(request).benchmarks)


@router.post(
    "/benchmarks",
    summary="Measure a live model",
    status_code=202,
    response_model=Run,
    dependencies=[Depends(require_admin)],
    responses=ERRORS.only(400, 403, 404, 409, 413, 415, 429, 503),
    openapi_extra=_BODY,
)
async def start(request: Request) -> Response:
    """Model calls of exact sizes, in the model's own queue: clients wait for one such call at most.

    One runs at a time: another is a 409. While images wait or run it is a 429, unless `force` is true.
    """
    service = service_of(request)
    try:
        asked = BenchmarkRequest.model_validate_json(await read_body(request))
    except ValidationError as error:
        raise BadRequest(f"the JSON body is not a benchmark request: {explain(error)}") from error
    if service.draining:
        raise NotReady("no benchmark is started: the service is shutting down")
    run = await benchmarks_of(request).start(*plan(asked, service.repository))
    return JSONResponse(run.model_dump(mode="json"), 202, {"location": f"/benchmarks/{run.id}"})


@router.get("/benchmarks", summary="The last benchmarks")
async def runs(request: Request) -> RunsAnswer:
    return RunsAnswer(benchmarks=benchmarks_of(request).book.runs)


@router.get(
    "/benchmarks/{id}.csv",
    summary="A benchmark's results as a table",
    response_class=Response,
    responses=_CSV | ERRORS.only(404),
)
async def table(request: Request, id: str) -> Response:
    return _csv(benchmarks_of(request).book.get(id))


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


@router.get(
    "/benchmarks/{id}/events",
    summary="A benchmark while it runs",
    response_class=EventStream,
    responses=ERRORS.only(404),
)
async def watch(request: Request, id: str) -> EventStream:
    """Server-sent events: `progress` (the run without results), `result` (a row), `end` (the whole run)."""
    service, book = service_of(request), benchmarks_of(request).book
    book.get(id)
    stream = events(book, id, lambda: service.draining)
    return EventStream(stream, headers={"cache-control": "no-store"})


@router.get("/benchmarks/{id}", summary="One benchmark", response_model=Run, responses=_CSV | ERRORS.only(404))
async def one(request: Request, id: str) -> Response:
    """As JSON, or as CSV where `Accept` asks for `text/csv`."""
    run = benchmarks_of(request).book.get(id)
    if "text/csv" in request.headers.get("accept", ""):
        return _csv(run)
    return JSONResponse(run.model_dump(mode="json"))


@router.delete(
    "/benchmarks/{id}",
    summary="Cancel a benchmark",
    dependencies=[Depends(require_admin)],
    responses=ERRORS.only(403, 404),
)
async def cancel(request: Request, id: str) -> Run:
    """It ends after the model call that is running; its results stay. One that has ended stays as it is."""
    benchmarks = benchmarks_of(request)
    run = benchmarks.book.get(id)
    benchmarks.cancel(id)
    return run


def _csv(run: Run) -> Response:
    facts = {
        "benchmark": run.id,
        "model": run.model,
        "version": run.version,
        "backend": run.backend,
        "device": run.device,
        "dtype": run.dtype,
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, [*facts, *BenchmarkRow.model_fields])
    writer.writeheader()
    writer.writerows(facts | row.model_dump() for row in run.rows)
    return Response(
        text.getvalue(),
        media_type="text/csv",
        headers={"content-disposition": f'attachment; filename="benchmark-{run.id}.csv"', "vary": "accept"},
    )

"""A run as server-sent events: how far it is, each result when it is there, the whole at its end."""

import json
from collections.abc import AsyncIterator, Callable

from ..errors import BenchmarkNotFound
from .book import Book
from .schemas import Run

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

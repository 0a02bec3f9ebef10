"""Benchmarks of models in engine processes, seen from a front end: asked for over its line to the supervisor."""

import asyncio
from collections.abc import Callable

from .. import errors
from ..channel import Document
from .book import Book
from .schemas import Run

START, CANCEL, NEWS, REFUSED = (f"benchmark_{kind}" for kind in ("start", "cancel", "news", "refused"))
"""Kinds of documents. Front ends ask for START and CANCEL; NEWS and REFUSED come from engines and go to front ends."""

_REFUSALS = {
    kind.error_type: kind for kind in (errors.BenchmarkRunning, errors.Overloaded, errors.NotReady, errors.BadRequest)
}


class RemoteBenchmarks:
    """As Benchmarks. The book is a copy of the supervisor's.

    Args:
        send: gives the supervisor a document.
    """

    def __init__(self, send: Callable[[Document], None]) -> None:
        self.book = Book()
        self._send = send
        self._asked: dict[str, asyncio.Future[None]] = {}

    async def start(self, run: Run, source: str) -> Run:
        """As Benchmarks."""
        begun = self._asked[run.id] = asyncio.get_running_loop().create_future()
        self._send({"kind": START, "source": source, "run": run.model_dump(mode="json")})
        try:
            await begun
        finally:
            del self._asked[run.id]
        return self.book.get(run.id)

    def cancel(self, id: str) -> None:
        self._send({"kind": CANCEL, "id": id})

    async def close(self) -> None:
        """It runs on without this front end."""

    def on_document(self, document: Document) -> None:
        """What the supervisor says."""
        if document["kind"] == REFUSED:
            self.book.forget(document["id"])
            kind = _REFUSALS[document["error_type"]]
            self._settle(document["id"], kind(document["error"]))
            return
        run = Run.model_validate(document["run"])
        self.book.put(run)
        if run.state != "queued":
            self._settle(run.id, None)

    def _settle(self, id: str, error: errors.ServiceError | None) -> None:
        asked = self._asked.get(id)
        if asked is None or asked.done():
            return
        if error is None:
            asked.set_result(None)
        else:
            asked.set_exception(error)


def refusal(id: str, error: errors.ServiceError) -> Document:
    """The document that says so."""
    return {"kind": REFUSED, "id": id, "error_type": error.error_type, "error": str(error)}

"""Benchmarks of models in engine processes, seen from a front end: asked for over its line to the supervisor."""

import asyncio
from collections.abc import Callable

from .. import errors
from ..errors import NotReady, ServiceError
from ..live_benchmarks.history import Book
from ..live_benchmarks.schemas import Run
from .children import Member, Members
from .control_channel import Document

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


class Desk:
    """Passes on what front ends ask and engines tell."""

    def __init__(self, members: Members) -> None:
        self._book = Book()
        self._members = members
        self._engine: Member | None = None
        """Which measures the current run."""

    def welcome(self, front_end: Member) -> None:
        """Tells a new front end what there is."""
        for run in reversed(self._book.runs):
            front_end.channel.send(news(run))

    def on_document(self, sender: Member, document: Document) -> None:
        match document["kind"]:
            case kind if kind == START:
                run = Run.model_validate(document["run"])
                try:
                    self._start(run, document)
                except ServiceError as error:
                    sender.channel.send(refusal(run.id, error))
            case kind if kind == CANCEL and self._engine:
                self._engine.channel.send(document)
            case kind if kind == NEWS:
                self._put(Run.model_validate(document["run"]))
            case kind if kind == REFUSED:
                self._book.forget(document["id"])
                self._tell(document)

    def gone(self, process: Member) -> None:
        """What a process measured that has ended has failed."""
        if process is self._engine and (run := self._book.current):
            update = {"state": "failed", "stage": "failed", "error": "the engine that measured it has died"}
            self._put(run.model_copy(update=update))

    def _start(self, run: Run, document: Document) -> None:
        for engine in self._members.loaded_engines:
            for number, model in engine.models.items():
                if model["model"] == run.served:
                    self._book.open(run)
                    self._engine = engine
                    self._tell(news(run))
                    engine.channel.send(document | {"number": number})
                    return
        raise NotReady(f"the engine of model {run.served!r} is being restarted")

    def _put(self, run: Run) -> None:
        self._book.put(run)
        self._tell(news(run))

    def _tell(self, document: Document) -> None:
        for front_end in self._members.front_ends:
            front_end.channel.send(document)


def news(run: Run) -> Document:
    return {"kind": NEWS, "run": run.model_dump(mode="json")}

"""The supervisor's part in benchmarks: one at a time for the whole service, on one engine, known to every front end."""

from collections.abc import Callable, Iterable
from typing import Protocol

from ..channel import Channel, Document
from ..errors import NotReady, ServiceError
from .book import Book
from .remote import CANCEL, NEWS, REFUSED, START, refusal
from .schemas import Run


class Process(Protocol):
    """A member of the service. `models`: documents with the `name` and `index` of each that an engine has."""

    @property
    def channel(self) -> Channel: ...

    @property
    def models(self) -> list[Document]: ...


class Desk:
    """Passes on what front ends ask and engines tell.

    Args:
        front_ends, engines: those that are there at the moment; engines, those that have loaded.
    """

    def __init__(self, front_ends: Callable[[], Iterable[Process]], engines: Callable[[], Iterable[Process]]) -> None:
        self._book = Book()
        self._front_ends = front_ends
        self._engines = engines
        self._engine: Process | None = None
        """Which measures the current run."""

    def welcome(self, front_end: Process) -> None:
        """Tells a new front end what there is."""
        for run in reversed(self._book.runs):
            front_end.channel.send(news(run))

    def on_document(self, sender: Process, document: Document) -> None:
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

    def gone(self, process: Process) -> None:
        """What a process measured that has ended has failed."""
        if process is self._engine and (run := self._book.current):
            update = {"state": "failed", "stage": "failed", "error": "the engine that measured it has died"}
            self._put(run.model_copy(update=update))

    def _start(self, run: Run, document: Document) -> None:
        for engine in self._engines():
            for model in engine.models:
                if model["name"] == run.served:
                    self._book.open(run)
                    self._engine = engine
                    self._tell(news(run))
                    engine.channel.send(document | {"index": model["index"]})
                    return
        raise NotReady(f"the engine of model {run.served!r} is being restarted")

    def _put(self, run: Run) -> None:
        self._book.put(run)
        self._tell(news(run))

    def _tell(self, document: Document) -> None:
        for front_end in self._front_ends():
            front_end.channel.send(document)


def news(run: Run) -> Document:
    return {"kind": NEWS, "run": run.model_dump(mode="json")}

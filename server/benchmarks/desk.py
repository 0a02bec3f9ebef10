"""The supervisor's part in benchmarks: one at a time for the whole service, on one engine, known to every front end."""

from ..channel import Document
from ..errors import NotReady, ServiceError
from ..members import Member, Members
from .book import Book
from .remote import CANCEL, NEWS, REFUSED, START, refusal
from .schemas import Run


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

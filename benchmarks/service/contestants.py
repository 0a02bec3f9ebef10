"""What is compared, seen alike: a server behind HTTP and the bare loop. Each classifies, and bears a load."""

import asyncio
import gc
import json
import urllib.request
from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from ..photos import Photo
from .bare_loop import BareLoop
from .load_generator import HEADERS, Load, closed_loop, open_loop, top_prediction
from .servers import Server, ServerError

T = TypeVar("T")
Answer = tuple[int, float]

TOLERANCE = {"float32": 2e-3, "bfloat16": 0.05, "float16": 0.01}
"""How far scores of one class, of 1, may lie apart: decoders round differently. Wrong pixels or weights differ more."""


class WrongAnswers(AssertionError):
    """Contestants do not answer alike; nothing is timed."""


class Contestant(Protocol):
    """`name` is its name in the document. Between `resume` and `suspend` it is its turn."""

    @property
    def name(self) -> str: ...
    def classify(self, photo: Photo) -> Answer: ...
    def closed(self, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float) -> Load: ...
    def resume(self) -> None: ...
    def suspend(self) -> None: ...


class Served:
    """A server on a URL; `server` is its process, where it was started here."""

    def __init__(self, name: str, url: str, server: Server | None = None) -> None:
        self.name = name
        self.url = url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/classify"
        self._server = server

    def classify(self, photo: Photo) -> Answer:
        """The most likely class and its score.

        Raises:
            ServerError: anything but an answer.
        """
        request = urllib.request.Request(self.url, photo.data, HEADERS)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return top_prediction(json.loads(response.read()))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ServerError(f"{self.url} does not answer as /classify does: {error!r}") from error

    def closed(self, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float) -> Load:
        return run(closed_loop(self.url, photos, clients=clients, seconds=seconds, expected=expected))

    def open(
        self, photos: Sequence[Photo], expected: Mapping[str, int], rate: float, seconds: float, seed: int
    ) -> Load:
        return run(open_loop(self.url, photos, rate=rate, seconds=seconds, expected=expected, seed=seed))

    def resume(self) -> None:
        if self._server:
            self._server.resume()

    def suspend(self) -> None:
        if self._server:
            self._server.suspend()


class Bare:
    """The bare loop; its answers are what the others' are compared with, so it knows no wrong ones."""

    name = "bare loop"

    def __init__(self, loop: BareLoop) -> None:
        self._loop = loop

    def classify(self, photo: Photo) -> Answer:
        return self._loop.classify(photo)

    def closed(self, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float) -> Load:
        return self._loop.run(photos, in_flight=clients, seconds=seconds)

    def resume(self) -> None: ...

    def suspend(self) -> None: ...


def check(contestants: Sequence[Contestant], photos: Sequence[Photo], dtype: str) -> dict[str, int]:
    """The class of each photograph, by its name, on which all agree; the first one's score must be everybody's.

    Raises:
        WrongAnswers: they do not agree.
    """
    first, *others = contestants
    answers = {photo.name: first.classify(photo) for photo in photos}
    for contestant in others:
        for photo in photos:
            (index, score), (right, right_score) = contestant.classify(photo), answers[photo.name]
            if index != right or abs(score - right_score) > TOLERANCE[dtype]:
                raise WrongAnswers(
                    f"{photo.name}: {contestant.name} says class {index} with {score:.4f}, "
                    f"{first.name} class {right} with {right_score:.4f}"
                )
    return {name: index for name, (index, _) in answers.items()}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """In an event loop of its own; libuv's where it is installed, so that the client costs little."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    gc.collect()
    gc.freeze()  # a full collection of all that is imported would hold the client up for a tenth of a second
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)
    finally:
        gc.unfreeze()

"""Load targets behind one interface: a server over HTTP, and the bare loop. Each classifies and takes a load."""

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
Prediction = tuple[int, float]
"""Top class and its score, 0 to 1."""

TOLERANCE = {"float32": 2e-3, "bfloat16": 0.05, "float16": 0.01}
"""Maximum difference of scores by dtype: decoders round differently. Wrong pixels or weights differ by more."""


class PredictionMismatch(AssertionError):
    """Predictions of two targets differ; nothing is timed."""


class Target(Protocol):
    """Target of a load. `name` is its name in the document. It is only loaded between `resume` and `suspend`."""

    @property
    def name(self) -> str: ...
    def classify(self, photo: Photo) -> Prediction: ...
    def closed(self, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float) -> Load: ...
    def resume(self) -> None: ...
    def suspend(self) -> None: ...


class HttpTarget:
    """Server at a URL; `server` is its process, where this benchmark started it."""

    def __init__(self, name: str, url: str, server: Server | None = None) -> None:
        self.name = name
        self.url = url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/classify"
        self._server = server

    def classify(self, photo: Photo) -> Prediction:
        """Top class of a photograph and its score.

        Raises:
            ServerError: no response, or one without predictions.
        """
        request = urllib.request.Request(self.url, photo.data, HEADERS)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return top_prediction(json.loads(response.read()))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ServerError(f"{self.url} gave no response like that of /classify: {error!r}") from error

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


class InProcessTarget:
    """Bare loop as a target. Its predictions are the reference, so none of them can be wrong."""

    name = "bare loop"

    def __init__(self, loop: BareLoop) -> None:
        self._loop = loop

    def classify(self, photo: Photo) -> Prediction:
        return self._loop.classify(photo)

    def closed(self, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float) -> Load:
        return self._loop.run(photos, in_flight=clients, seconds=seconds)

    def resume(self) -> None: ...

    def suspend(self) -> None: ...


def check(targets: Sequence[Target], photos: Sequence[Photo], dtype: str) -> dict[str, int]:
    """Check that all targets predict the same; returns the class of each photograph by its name.

    Raises:
        PredictionMismatch: a target's class, or its score beyond `TOLERANCE`, differs from the first one's.
    """
    first, *others = targets
    predictions = {photo.name: first.classify(photo) for photo in photos}
    for target in others:
        for photo in photos:
            (index, score), (expected, expected_score) = target.classify(photo), predictions[photo.name]
            if index != expected or abs(score - expected_score) > TOLERANCE[dtype]:
                raise PredictionMismatch(
                    f"{photo.name}: {target.name} predicts class {index} with score {score:.4f}, "
                    f"{first.name} class {expected} with score {expected_score:.4f}"
                )
    return {name: index for name, (index, _) in predictions.items()}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop, uvloop's where it is installed, for a client with little overhead."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    gc.collect()
    gc.freeze()  # a full collection of everything imported would pause the client for about 0.1 s
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)
    finally:
        gc.unfreeze()

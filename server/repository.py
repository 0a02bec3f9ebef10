"""The served models by name, each with its state. Loads them without blocking the event loop."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..models.sources import served_name
from .engine import AsyncEngine
from .errors import ModelNotServed, NotReady
from .metrics import Metrics
from .settings import Settings

State = Literal["loading", "ready", "failed"]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ServedModel:
    """A name that clients use, and the engine behind it once that is loaded."""

    name: str
    source: str
    engine: AsyncEngine | None = None
    reason: str = ""
    """Why it could not be loaded."""

    @property
    def state(self) -> State:
        if self.reason:
            return "failed"
        return "ready" if self.engine and self.engine.available else "loading"


Loader = Callable[[ServedModel], Awaitable[AsyncEngine]]


class ModelRepository:
    """All models of one service.

    Args:
        load: makes the engine of a model; what it raises is the reason why the model has failed.

    Raises:
        ValueError: two models would be served under one name.
    """

    def __init__(self, settings: Settings, load: Loader) -> None:
        self._load_engine = load
        self.models = {name: ServedModel(name, source) for name, source in name_sources(settings.model).items()}
        self.default = next(iter(self.models))

    @property
    def state(self) -> State:
        """Of the whole: failed if one has failed, else loading if one is, else ready."""
        states = {model.state for model in self.models.values()}
        return "failed" if "failed" in states else "loading" if "loading" in states else "ready"

    @property
    def failures(self) -> list[str]:
        return [f"{model.name}: {model.reason}" for model in self.models.values() if model.state == "failed"]

    async def load(self) -> None:
        """Loads every model, one after the other. One that fails is marked and takes no other with it."""
        for model in self.models.values():
            try:
                model.engine = await self._load_engine(model)
            except Exception as error:
                model.reason = str(error) or repr(error)
                _log.error("model %s could not be loaded: %s", model.name, model.reason)

    def engine(self, name: str | None) -> AsyncEngine:
        """The engine that answers for `name`, or for the default model.

        Raises:
            ModelNotServed: no model has that name.
            NotReady: it is still loading, or could not be loaded.
        """
        model = self.models.get(self.default if name is None else name)
        if model is None:
            raise ModelNotServed(f"no model {name!r} is served; there is: {', '.join(self.models)}")
        if model.engine is None:
            raise NotReady(f"model {model.name!r} is {model.state}{': ' if model.reason else ''}{model.reason}")
        return model.engine

    async def close(self) -> None:
        """Answers what was accepted, then ends every engine."""
        await asyncio.gather(*(model.engine.close() for model in self.models.values() if model.engine))


def name_sources(specifications: Sequence[str]) -> dict[str, str]:
    """Served name -> source, in order.

    Raises:
        ValueError: two models would be served under one name.
    """
    sources: dict[str, str] = {}
    for specification in specifications:
        name = served_name(specification)
        if name in sources:
            raise ValueError(f"two models would be served as {name!r}; name one: --model other={specification}")
        sources[name] = specification
    return sources


def local_loader(settings: Settings, metrics: Metrics) -> Loader:
    """Runs every model in this process."""

    async def load(model: ServedModel) -> AsyncEngine:
        started = time.perf_counter()
        engine = await AsyncEngine.load(
            model.source,
            name=model.name,
            device=settings.device,
            dtype=settings.dtype,
            backend=settings.backend,
            max_batch_size=settings.max_batch_size,
            max_delay=settings.max_queue_delay_ms / 1e3,
            max_queue=settings.max_queue,
            decode_threads=settings.decode_threads,
            max_pixels=settings.max_pixels,
            metrics=metrics,
        )
        _log.info("model %s is ready after %.1f s", model.name, time.perf_counter() - started)
        return engine

    return load

"""Models that run in this process: how the repository gets their engines."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from .engine.engine import AsyncEngine
from .engine.model_loader import engine_limits, model_options
from .model_names import ModelSpec
from .observability.metrics import Metrics
from .settings import Settings

State = Literal["loading", "ready", "failed", "unloaded"]


@dataclass(slots=True)
class ServedModel:
    """A name that clients use, and the engine behind it once that is loaded."""

    spec: ModelSpec
    engine: AsyncEngine | None = None
    reason: str = ""
    """Why it could not be loaded."""
    unloaded: bool = False

    @property
    def state(self) -> State:
        if self.unloaded:
            return "unloaded"
        if self.reason:
            return "failed"
        return "ready" if self.engine and self.engine.available else "loading"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def version(self) -> int:
        return self.spec.version


Loader = Callable[[ServedModel], Awaitable[AsyncEngine]]


class ModelControl(Protocol):
    """Who loads and unloads while the service runs, where this process is not the one that owns the models."""

    async def load(self, spec: ModelSpec) -> None:
        """Returns once every request that comes now gets the new model. LoadFailed, NotReady: nothing has changed."""
        ...

    async def unload(self, models: list[ModelSpec]) -> None:
        """Returns once no request that comes now gets them."""
        ...

    async def set_alias(self, alias: str, target: str | None) -> None:
        """Returns once the alias means that for every request that comes now. NotReady: the target has just gone."""
        ...


_log = logging.getLogger(__name__)


def local_loader(settings: Settings, metrics: Metrics) -> Loader:
    """Runs every model in this process."""

    async def load(model: ServedModel) -> AsyncEngine:
        started = time.perf_counter()
        engine = await AsyncEngine.load(
            model.spec.source,
            name=model.name,
            version=model.version,
            **model_options(settings),
            max_batch_size=settings.max_batch_size,
            max_delay=settings.max_queue_delay_ms / 1e3,
            **engine_limits(settings, metrics, settings.max_queue),
        )
        _log.info("model %s is ready after %.1f s", model.name, time.perf_counter() - started)
        return engine

    return load

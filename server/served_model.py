"""Served model: a model spec, its engine and its state; loader of engines in this process."""

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
    """Model spec and, once it is loaded, its engine."""

    spec: ModelSpec
    engine: AsyncEngine | None = None
    reason: str = ""
    """Reason of a failed load; empty otherwise."""
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
    """Control of models that another process owns: loading, unloading and aliases at run time."""

    async def load(self, spec: ModelSpec) -> None:
        """Load a model; return once all new requests reach it. LoadFailed, NotReady: nothing has changed."""
        ...

    async def unload(self, models: list[ModelSpec]) -> None:
        """Unload models; return once no new request reaches them."""
        ...

    async def set_alias(self, alias: str, target: str | None) -> None:
        """Set an alias, or delete it (None); return once all new requests see it. NotReady: the target is gone."""
        ...


_log = logging.getLogger(__name__)


def local_loader(settings: Settings, metrics: Metrics) -> Loader:
    """Loader that runs every model in this process."""

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

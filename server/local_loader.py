"""Models that run in this process: how the repository gets their engines."""

import logging
import time

from .engine import AsyncEngine
from .limits import limits_of
from .load import choices_of
from .metrics import Metrics
from .repository import Loader, ServedModel
from .settings import Settings

_log = logging.getLogger(__name__)


def local_loader(settings: Settings, metrics: Metrics) -> Loader:
    """Runs every model in this process."""

    async def load(model: ServedModel) -> AsyncEngine:
        started = time.perf_counter()
        engine = await AsyncEngine.load(
            model.spec.source,
            name=model.name,
            version=model.version,
            **choices_of(settings),
            max_batch_size=settings.max_batch_size,
            max_delay=settings.max_queue_delay_ms / 1e3,
            **limits_of(settings, metrics, settings.max_queue),
        )
        _log.info("model %s is ready after %.1f s", model.name, time.perf_counter() - started)
        return engine

    return load

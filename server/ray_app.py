"""The service on Ray Serve: replicas, each with engines of its own behind the very application of `tessella serve`.

On a cluster: `serve run tessella.server.ray_app:application model=digits-vit max_replicas=8`; on this machine alone:
`python -m tessella.server.ray_app port=8000 min_replicas=2`. Needs `pip install 'tessella[ray]'`.
"""

import os
import signal
import sys
import threading

import ray
from fastapi import FastAPI
from pydantic import Field, ValidationError
from ray import serve

from .app import create_app
from .engine.model_loader import DEFAULT_MAX_BATCH_SIZE
from .http.service import Service
from .lifecycle import freeze_gc
from .observability.logs import configure_logging
from .observability.metrics import Metrics
from .repository import ModelRepository
from .served_model import local_loader
from .settings import Settings

OBJECT_STORE_BYTES = 80 * 2**20
"""The least that Ray takes, and a little: requests do not travel through its store."""


class RaySettings(Settings):
    """The service's settings and how many replicas Ray keeps. `host` and `port` are for a Ray that is started here."""

    min_replicas: int = Field(default=1, ge=1, description="replicas that are always there")
    max_replicas: int = Field(default=1, ge=1, description="replicas under load; at least min_replicas are")
    cores: float = Field(default=1, gt=0, description="CPU cores of one replica")
    gpus: float = Field(default=0, ge=0, description="GPUs of one replica")
    target_requests: float | None = Field(
        default=None,
        gt=0,
        description="requests at once per replica; by default max_batch_size, or 32",
    )


@serve.ingress()
class Replica:
    """All served models in one actor. Ray calls it ready once they are loaded."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Ray awaits it
        configure_logging(settings.log_format)
        metrics = Metrics()
        repository = ModelRepository(settings, local_loader(settings, metrics))
        await repository.start()
        if repository.failures:
            raise RuntimeError("; ".join(repository.failures))
        freeze_gc()
        self._service = Service(settings, repository, metrics)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._service)


def application(settings: RaySettings) -> serve.Application:
    """What `serve run` and a Serve configuration file name. Overload is answered by the engines: 429, as ever."""
    fewest = settings.min_replicas
    deployment: serve.Deployment = serve.deployment(
        name="tessella",
        ray_actor_options={"num_cpus": settings.cores, "num_gpus": settings.gpus},
        autoscaling_config={
            "min_replicas": fewest,
            "max_replicas": max(fewest, settings.max_replicas),
            "target_ongoing_requests": settings.target_requests or settings.max_batch_size or DEFAULT_MAX_BATCH_SIZE,
        },
        max_ongoing_requests=2 * settings.max_queue,
        graceful_shutdown_timeout_s=settings.drain_timeout,
    )(Replica)
    return deployment.bind(settings)


def run_here(settings: RaySettings) -> None:
    """Starts a Ray of its own that nobody else reaches, serves on it until SIGTERM or SIGINT, and ends it."""
    ended = threading.Event()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        "local",
        num_cpus=max(1, round(settings.cores * max(settings.min_replicas, settings.max_replicas))),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        serve.start(http_options={"host": settings.host, "port": settings.port})
        serve.run(application(settings), name="tessella")
        ended.wait()
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


if __name__ == "__main__":
    try:
        given = {name: value for name, _, value in (argument.partition("=") for argument in sys.argv[1:])}
        run_here(RaySettings.model_validate(given))
    except (ValidationError, RuntimeError) as error:  # a replica that cannot start has said why
        sys.exit(f"error: {error}")

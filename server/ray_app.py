"""Ray Serve deployment: replicas of the application of `tessella serve`, each with its own engines.

On a cluster: `serve run tessella.server.ray_app:application model=digits-vit max_replicas=8`; on a single machine:
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
"""Size of Ray's object store, slightly above Ray's minimum: requests do not pass through it."""


class RaySettings(Settings):
    """Service settings, replicas and their resources. `host` and `port` apply only to a Ray started by this module."""

    min_replicas: int = Field(default=1, ge=1, description="minimum number of replicas")
    max_replicas: int = Field(default=1, ge=1, description="maximum number of replicas; at least min_replicas")
    cores: float = Field(default=1, gt=0, description="CPU cores per replica")
    gpus: float = Field(default=0, ge=0, description="GPUs per replica")
    target_requests: float | None = Field(
        default=None,
        gt=0,
        description="target of concurrent requests per replica; unset: max_batch_size, or 32",
    )


@serve.ingress()
class Replica:
    """Replica: all served models in one actor, which is ready once they are loaded."""

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
    """Ray Serve application, for `serve run` or a Serve config file. The engines reject overload with 429."""
    deployment: serve.Deployment = serve.deployment(
        name="tessella",
        ray_actor_options={"num_cpus": settings.cores, "num_gpus": settings.gpus},
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": max(settings.min_replicas, settings.max_replicas),
            "target_ongoing_requests": settings.target_requests or settings.max_batch_size or DEFAULT_MAX_BATCH_SIZE,
        },
        max_ongoing_requests=2 * settings.max_queue,
        graceful_shutdown_timeout_s=settings.drain_timeout,
    )(Replica)
    return deployment.bind(settings)


def run_local(settings: RaySettings) -> None:
    """Start a private local Ray, serve on it until SIGTERM or SIGINT, and shut it down."""
    stopped = threading.Event()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        "local",
        num_cpus=max(1, round(settings.cores * max(settings.min_replicas, settings.max_replicas))),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        serve.start(http_options={"host": settings.host, "port": settings.port})
        serve.run(application(settings), name="tessella")
        stopped.wait()
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


if __name__ == "__main__":
    try:
        overrides = {name: value for name, _, value in (argument.partition("=") for argument in sys.argv[1:])}
        run_local(RaySettings.model_validate(overrides))
    except (ValidationError, RuntimeError) as error:  # raised by a replica that cannot start
        sys.exit(f"error: {error}")

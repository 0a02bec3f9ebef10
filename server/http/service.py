"""Service: the settings, models, metrics and limits that all request handlers share."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from ..live_benchmarks.runner import BenchmarkService, LocalBenchmarks
from ..observability.metrics import Metrics, Snapshot, merge
from ..repository import ModelRepository
from ..settings import Settings
from .body import BodyBudget
from .url_fetch import UrlFetcher


@dataclass(slots=True)
class Service:
    """State of one running service in one process.

    `gather_metrics`: sends this process's snapshot and returns those of the other processes. `draining`: the service is
    shutting down and accepts no new work. `benchmarks`: by default those of the models in this process.
    `started_at`: seconds since 1970.
    """

    settings: Settings
    repository: ModelRepository
    metrics: Metrics = field(default_factory=Metrics)
    gather_metrics: Callable[[Snapshot], Awaitable[list[Snapshot]]] | None = None
    draining: bool = False
    rate_limit_file: int | None = None
    """Descriptor of the rate limiter's memory file, if another process has created it."""
    benchmarks: BenchmarkService | None = None
    started_at: int = field(default_factory=lambda: int(time.time()))
    body_budget: BodyBudget = field(init=False)
    url_fetcher: UrlFetcher = field(init=False)

    def __post_init__(self) -> None:
        share = self.settings.max_queue_bytes // max(1, self.settings.frontends or 1)
        self.benchmarks = self.benchmarks or LocalBenchmarks(self.repository)
        self.body_budget = BodyBudget(max(share, self.settings.max_body_bytes))
        self.url_fetcher = UrlFetcher(
            self.settings.image_url_host,
            max_bytes=self.settings.max_body_bytes,
            timeout=self.settings.image_url_timeout,
        )

    @property
    def status(self) -> str:
        """One of `ready`, `draining`, `loading` and `failed`."""
        return "draining" if self.draining else self.repository.state

    async def collect_metrics(self) -> Snapshot:
        """Metrics of all processes of the service, merged."""
        own = self.metrics.snapshot()
        return merge([own, *(await self.gather_metrics(own) if self.gather_metrics else [])])


def service_of(request: Request) -> Service:
    """Service of the application that handles `request`."""
    return cast(Service, request.app.state.service)

"""What the handlers of one service share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from ..live_benchmarks.runner import Benchmarks, LocalBenchmarks
from ..observability.metrics import Metrics, Snapshot, merge
from ..repository import ModelRepository
from ..settings import Settings
from .body import BodyBudget
from .url_fetch import UrlFetcher


@dataclass(slots=True)
class Service:
    """One running service.

    `gather`: takes what this process has counted, gives what the others have. `draining`: it is shutting down and takes
    nothing new. `benchmarks`: by default, of the models in this process.
    """

    settings: Settings
    repository: ModelRepository
    metrics: Metrics = field(default_factory=Metrics)
    gather: Callable[[Snapshot], Awaitable[list[Snapshot]]] | None = None
    draining: bool = False
    accounts: int | None = None
    """The memory file of the keys' rates, where another process has made it."""
    benchmarks: Benchmarks | None = None
    bodies: BodyBudget = field(init=False)
    urls: UrlFetcher = field(init=False)

    def __post_init__(self) -> None:
        share = self.settings.max_queue_bytes // max(1, self.settings.frontends or 1)
        self.benchmarks = self.benchmarks or LocalBenchmarks(self.repository)
        self.bodies = BodyBudget(max(share, self.settings.max_body_bytes))
        self.urls = UrlFetcher(
            self.settings.image_url_host,
            max_bytes=self.settings.max_body_bytes,
            timeout=self.settings.image_url_timeout,
        )

    @property
    def status(self) -> str:
        """`ready`, or why it is not: draining, loading or failed."""
        return "draining" if self.draining else self.repository.state

    async def counted(self) -> Snapshot:
        """What all processes of the service have counted."""
        own = self.metrics.snapshot()
        return merge([own, *(await self.gather(own) if self.gather else [])])


def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)

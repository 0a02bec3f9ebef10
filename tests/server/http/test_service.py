"""Service: status while draining, metrics of all processes, and the share of the body budget."""

import asyncio
from typing import Any

import pytest

from tessella.server.http.service import Service
from tessella.server.observability.metrics import Metrics, Snapshot
from tessella.server.repository import ModelRepository
from tessella.server.served_model import local_loader
from tessella.server.settings import Settings


def service_with(**settings: Any) -> Service:
    configured = Settings(model=("digits-vit",), **settings)
    return Service(configured, ModelRepository(configured, local_loader(configured, Metrics())))


def test_status_is_that_of_the_models_until_the_service_drains() -> None:
    service = service_with()
    assert service.status == "loading"
    service.draining = True
    assert service.status == "draining"


@pytest.mark.parametrize(("frontends", "limit"), [(None, 800), (0, 800), (4, 200), (16, 100)])
def test_front_ends_share_the_body_budget_but_each_holds_one_body(frontends: int | None, limit: int) -> None:
    service = service_with(frontends=frontends, max_queue_bytes=800, max_body_bytes=100)
    assert service.body_budget.limit == limit


def test_metrics_of_other_processes_are_added_to_the_own() -> None:
    service = service_with()
    sent: list[Snapshot] = []

    async def gather(own: Snapshot) -> list[Snapshot]:
        other = Metrics()
        other.count("tessella_responses_total", route="/classify", status="200")
        sent.append(own)
        return [other.snapshot()]

    service.metrics.count("tessella_responses_total", route="/classify", status="200")
    service.gather_metrics = gather
    merged = asyncio.run(service.collect_metrics())
    assert [value for name, _, value in merged["values"] if name == "tessella_responses_total"] == [2]
    assert sent == [service.metrics.snapshot()]

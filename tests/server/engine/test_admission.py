"""Admission control: limit and retry estimate."""

import asyncio

import pytest

from tessella.server.engine import admission as admission_module
from tessella.server.engine.admission import Admission
from tessella.server.engine.request_metrics import RequestRecorder
from tessella.server.errors import Overloaded
from tessella.server.observability.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


async def make() -> Admission:
    return Admission("cats", 10, RequestRecorder(Metrics(), "cats", 1))


def rejection(admission: Admission) -> Overloaded:
    with pytest.raises(Overloaded, match="the queue holds 10 of at most 10 images") as caught:
        admission.reject_if_full()
    return caught.value


def test_rejection_estimates_when_capacity_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(admission_module, "time", clock)
    held = asyncio.run(make())
    with held.reserve(10):
        assert held.full
        assert rejection(held).retry_after is None, "no completion yet"
    for _ in range(8):
        with held.reserve(1):
            clock.now += 0.5
    with held.reserve(10):
        assert rejection(held).retry_after == pytest.approx(10 / (18 / 4), rel=0.01)
        clock.now += 60
        assert rejection(held).retry_after is None, "completions of a minute ago are ignored"
    assert not held.full

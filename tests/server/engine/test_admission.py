"""How many images an engine takes at once, and when it says that there will be room."""

import asyncio

import pytest

from tessella.server.engine import admission
from tessella.server.engine.admission import Admission
from tessella.server.engine.request_metrics import RequestRecorder
from tessella.server.errors import Overloaded
from tessella.server.http.error_responses import error_response
from tessella.server.observability.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


async def make() -> Admission:
    return Admission("cats", 10, RequestRecorder(Metrics(), "cats", 1))


def refused(held: Admission) -> Overloaded:
    with pytest.raises(Overloaded, match="the queue holds 10 of at most 10 images") as caught:
        held.reject_if_full()
    return caught.value


def test_a_refusal_says_when_what_waits_will_have_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    held = asyncio.run(make())
    with held.reserve(10):
        assert held.full
        assert refused(held).retry_after is None, "nothing has left yet"
    for _ in range(8):
        with held.reserve(1):
            clock.now += 0.5
    with held.reserve(10):
        assert refused(held).retry_after == pytest.approx(10 / (18 / 4), rel=0.01)
        clock.now += 60
        assert refused(held).retry_after is None, "what left a minute ago tells nothing"
    assert not held.full


@pytest.mark.parametrize(
    ("status", "known", "said"),
    [(429, None, "1"), (429, 2.2, "3"), (429, 0.0, "1"), (503, None, "2"), (503, 900, "60")],
)
def test_retry_after_is_whole_seconds_within_bounds(status: int, known: float | None, said: str) -> None:
    assert error_response(status, "later", "overloaded", "", known).headers["retry-after"] == said


def test_other_errors_do_not_say_when_to_come_again() -> None:
    assert "retry-after" not in error_response(400, "never", "bad_request", "", 3.0).headers

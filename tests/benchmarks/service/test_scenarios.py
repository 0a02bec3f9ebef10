"""Stress scenarios: when objectives are met, and the load of an overload."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tessella.benchmarks.service import scenarios
from tessella.benchmarks.service.load_generator import Load, Sample
from tessella.benchmarks.service.servers import ServerSettings

from ...support.classify_stub import EXPECTED, PHOTOS, classification, stub


def sample(due: float, seconds: float, status: str) -> Sample:
    match status:
        case "200":
            return Sample(due, due, seconds, "accepted")
        case "429":
            return Sample(due, due, seconds, "rejected", "status 429")
        case _:
            return Sample(due, due, seconds, "failed", f"status {status}")


def met(document: dict[str, Any]) -> list[bool]:
    return [objective["met"] for objective in document["objectives"]]


def test_objectives_of_an_overload_are_quick_rejections_bounded_latency_and_no_failures() -> None:
    answers = [sample(number, 1.0, "200") for number in range(200)]
    refusals = [sample(number, 0.01, "429") for number in range(200)]
    bound = scenarios.LATENCY_SLACK * scenarios.MAX_QUEUE / 2.0
    assert met(scenarios._evaluate_overload(2.0, Load((*answers, *refusals), 100.0))) == [True, True, True]

    slow = [sample(number, 0.06, "429") for number in range(200)]
    assert met(scenarios._evaluate_overload(2.0, Load((*answers, *slow), 100.0))) == [False, True, True]
    sent_late = [Sample(number, number + 0.05, 0.06, "rejected", "status 429") for number in range(200)]
    assert met(scenarios._evaluate_overload(2.0, Load((*answers, *sent_late), 100.0))) == [True, True, True]
    late = [sample(number, bound * 1.01, "200") for number in range(200)]
    assert met(scenarios._evaluate_overload(2.0, Load((*late, *refusals), 100.0))) == [True, False, True]
    failing = (*answers, *refusals, sample(0, 0.1, "500"))
    assert met(scenarios._evaluate_overload(2.0, Load(failing, 100.0))) == [True, True, False]
    assert met(scenarios._evaluate_overload(2.0, Load(tuple(answers), 100.0)))[0] is False, "nothing was rejected"


def test_recovery_is_the_first_response_to_a_request_sent_after_a_failure() -> None:
    before = [sample(0.0, 0.5, "200"), sample(0.9, 0.4, "200")]
    refused = [sample(0.8, 0.3, "503"), sample(1.2, 0.0, "503")]
    after = [sample(3.0, 1.0, "200"), sample(3.2, 0.5, "200")]
    assert scenarios.recovery_seconds([*before, *refused, *after], 1.0) == pytest.approx(2.7)
    assert scenarios.recovery_seconds([*before, *refused], 1.0) is None
    assert scenarios.recovery_seconds([*before, *after], 1.0) is None, "no request failed"


def test_objectives_of_a_kill_are_recovery_in_time_and_no_status_but_200_and_503() -> None:
    refused, back = sample(1.1, 0.1, "503"), sample(2.0, 1.0, "200")
    assert met(scenarios._evaluate_kill(Load((refused, back), 9.0), 1.0, 1)) == [True, True]
    assert met(scenarios._evaluate_kill(Load((refused, sample(11.0, 0.5, "200")), 12.0), 1.0, 1)) == [False, True]
    broken = Sample(1.2, 1.2, 0.1, "failed", "ServerDisconnectedError")
    assert met(scenarios._evaluate_kill(Load((refused, broken, back), 9.0), 1.0, 1)) == [True, False]


def test_overload_sends_twice_the_measured_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_flight, options = 0, list[str]()

    async def one_at_a_time(body: bytes) -> web.StreamResponse:

        nonlocal in_flight
        if in_flight == scenarios.MAX_QUEUE:
            return web.Response(status=429)
        in_flight += 1
        await asyncio.sleep(0.02 * in_flight)
        in_flight -= 1
        return classification(int(body))

    class Started:
        def __init__(self, url: str) -> None:
            self.url = url

    @contextmanager
    def at_once(_: object) -> Iterator[None]:
        yield

    with stub(one_at_a_time) as url:

        def start(settings: ServerSettings, log: Path, *given: str) -> Started:
            options.extend(given)
            return Started(url)

        monkeypatch.setattr(scenarios, "start_tessella", start)
        monkeypatch.setattr(scenarios, "all_ready", at_once)
        settings = ServerSettings(model=tmp_path)
        summary = scenarios.overload(
            settings, PHOTOS, EXPECTED, log=tmp_path / "log", seconds=2, options=("--backend", "x")
        )
    assert options == ["--backend", "x", "--max-queue", str(scenarios.MAX_QUEUE)]
    assert summary["rate"] == scenarios.OVERLOAD_FACTOR * summary["capacity"] > 0
    assert summary["accepted"] > 0
    assert summary["failed"] == 0
    assert summary["requests"] == summary["accepted"] + summary["rejected"]

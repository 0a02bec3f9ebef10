"""Promises under stress: what counts as kept, and a real engine that is killed while clients ask."""

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

from ...support.classify_stub import EXPECTED, PHOTOS, answer, stub


def sample(due: float, seconds: float, status: str) -> Sample:
    match status:
        case "200":
            return Sample(due, due, seconds, "accepted")
        case "429":
            return Sample(due, due, seconds, "rejected", "status 429")
        case _:
            return Sample(due, due, seconds, "failed", f"status {status}")


def held(document: dict[str, Any]) -> list[bool]:
    return [objective["met"] for objective in document["objectives"]]


def test_an_overload_is_borne_when_rejections_are_quick_answers_bounded_and_nothing_fails() -> None:
    answers = [sample(number, 1.0, "200") for number in range(200)]
    refusals = [sample(number, 0.01, "429") for number in range(200)]
    bound = scenarios.LATENCY_SLACK * scenarios.MAX_QUEUE / 2.0
    assert held(scenarios._evaluate_overload(2.0, Load((*answers, *refusals), 100.0))) == [True, True, True]

    slow = [sample(number, 0.06, "429") for number in range(200)]
    assert held(scenarios._evaluate_overload(2.0, Load((*answers, *slow), 100.0))) == [False, True, True]
    sent_late = [Sample(number, number + 0.05, 0.06, "rejected", "status 429") for number in range(200)]
    assert held(scenarios._evaluate_overload(2.0, Load((*answers, *sent_late), 100.0))) == [True, True, True]
    late = [sample(number, bound * 1.01, "200") for number in range(200)]
    assert held(scenarios._evaluate_overload(2.0, Load((*late, *refusals), 100.0))) == [True, False, True]
    failing = (*answers, *refusals, sample(0, 0.1, "500"))
    assert held(scenarios._evaluate_overload(2.0, Load(failing, 100.0))) == [True, True, False]
    assert held(scenarios._evaluate_overload(2.0, Load(tuple(answers), 100.0)))[0] is False, "nothing was refused"


def test_recovery_is_the_first_answer_to_what_was_sent_after_a_refusal() -> None:
    before = [sample(0.0, 0.5, "200"), sample(0.9, 0.4, "200")]
    refused = [sample(0.8, 0.3, "503"), sample(1.2, 0.0, "503")]
    after = [sample(3.0, 1.0, "200"), sample(3.2, 0.5, "200")]
    assert scenarios.recovery_seconds([*before, *refused, *after], 1.0) == pytest.approx(2.7)
    assert scenarios.recovery_seconds([*before, *refused], 1.0) is None
    assert scenarios.recovery_seconds([*before, *after], 1.0) is None, "nobody noticed that it was gone"


def test_a_kill_is_survived_within_ten_seconds_with_nothing_but_200_and_503() -> None:
    refused, back = sample(1.1, 0.1, "503"), sample(2.0, 1.0, "200")
    assert held(scenarios._evaluate_kill(Load((refused, back), 9.0), 1.0, 1)) == [True, True]
    assert held(scenarios._evaluate_kill(Load((refused, sample(11.0, 0.5, "200")), 12.0), 1.0, 1)) == [False, True]
    broken = Sample(1.2, 1.2, 0.1, "failed", "ServerDisconnectedError")
    assert held(scenarios._evaluate_kill(Load((refused, broken, back), 9.0), 1.0, 1)) == [True, False]


def test_overload_asks_twice_as_much_as_can_be_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, options = 0, list[str]()

    async def one_at_a_time(body: bytes) -> web.StreamResponse:

        nonlocal under_way
        if under_way == scenarios.MAX_QUEUE:
            return web.Response(status=429)
        under_way += 1
        await asyncio.sleep(0.02 * under_way)
        under_way -= 1
        return answer(int(body))

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
        found = scenarios.overload(
            settings, PHOTOS, EXPECTED, log=tmp_path / "log", seconds=2, options=("--backend", "x")
        )
    assert options == ["--backend", "x", "--max-queue", str(scenarios.MAX_QUEUE)]
    assert found["rate"] == scenarios.OVERLOAD_FACTOR * found["capacity"] > 0
    assert found["accepted"] > 0
    assert found["failed"] == 0
    assert found["requests"] == found["accepted"] + found["rejected"]

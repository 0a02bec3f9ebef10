"""The load: how many ask at once, that an open loop waits for nobody, and that every request is judged and counted."""

import asyncio
from collections import Counter

import pytest
from aiohttp import web

from tessella.benchmarks.service.load_generator import Load, Sample, arrivals, closed_loop, open_loop, summarise_load

from ...support.classify_stub import EXPECTED, PHOTOS, answer, right, stub


def test_a_closed_loop_has_as_many_requests_under_way_as_clients_and_sends_all_photographs() -> None:
    under_way, most, bodies = 0, 0, Counter[bytes]()

    async def handler(body: bytes) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        bodies[body] += 1
        await asyncio.sleep(0.01)
        under_way -= 1
        return answer(int(body))

    with stub(handler) as url:
        load = asyncio.run(closed_loop(f"{url}/classify", PHOTOS, clients=3, seconds=0.3, expected=EXPECTED))
    assert most == 3
    assert set(bodies) == {photo.data for photo in PHOTOS}
    assert len(load.of("accepted")) == len(load.samples) == bodies.total()
    assert load.throughput == pytest.approx(len(load.samples) / load.seconds)


def test_a_closed_loop_stops_when_it_is_told_to() -> None:
    async def ask(url: str) -> Load:
        stop = asyncio.Event()
        loading = asyncio.create_task(closed_loop(f"{url}/classify", PHOTOS, clients=2, seconds=600, stop=stop))
        await asyncio.sleep(0.1)
        stop.set()
        return await loading

    with stub() as url:
        assert asyncio.run(ask(url)).of("accepted")


def test_an_open_loop_sends_although_nothing_is_answered() -> None:
    """The first answer comes when the last request is there: clients that wait would wait for ever."""
    wanted, arrived = len(arrivals(200, 0.2)), 0
    complete: asyncio.Event | None = None

    async def handler(body: bytes) -> web.StreamResponse:
        nonlocal arrived, complete
        complete = complete or asyncio.Event()
        arrived += 1
        if arrived == wanted:
            complete.set()
        await complete.wait()
        return answer(int(body))

    with stub(handler) as url:
        load = asyncio.run(open_loop(f"{url}/classify", PHOTOS, rate=200, seconds=0.2, expected=EXPECTED, timeout=60))
    assert len(load.of("accepted")) == wanted > 10


def test_latency_counts_from_when_a_request_was_due_not_from_when_it_was_sent() -> None:
    """One at a time, 20 ms each, due five times as often: the k-th answer cannot come before (k + 1) × 20 ms."""
    pause = 0.02

    async def handler(body: bytes) -> web.StreamResponse:
        await asyncio.sleep(pause)
        return answer(int(body))

    with stub(handler) as url:
        load = asyncio.run(open_loop(f"{url}/classify", PHOTOS, rate=5 / pause, seconds=0.2, max_in_flight=1))
    assert [sample.due for sample in load.samples] == arrivals(5 / pause, 0.2)
    for number, sample in enumerate(load.samples):
        assert sample.due + sample.seconds >= (number + 1) * pause * 0.95
        assert sample.seconds >= sample.sent - sample.due
    found = summarise_load(load)
    assert found["client_lag_ms"]["max"] > 100
    assert 0 < found["held_back"] < found["requests"]


def test_a_rejection_counts_from_its_sending_unless_the_server_delayed_that() -> None:
    late_by_itself = Sample(1.0, 1.5, 0.51, "rejected")
    held_back = Sample(1.0, 1.5, 0.51, "rejected", held_back=True)
    assert late_by_itself.reply_seconds == pytest.approx(0.01)
    assert held_back.reply_seconds == pytest.approx(0.51)
    found = summarise_load(Load((late_by_itself,), 2.0))
    assert found["rejection_ms"]["max"] == pytest.approx(10)
    assert found["client_lag_ms"]["max"] == pytest.approx(500)
    assert found["held_back"] == 0
    assert summarise_load(Load((held_back,), 2.0))["rejection_ms"]["max"] == pytest.approx(510)
    accepted = summarise_load(Load((Sample(1.0, 1.5, 0.51, "accepted"),), 2.0))
    assert accepted["latency_ms"]["max"] == pytest.approx(510), "what was accepted counts from when it was due"


def test_every_kind_of_outcome_is_counted_under_its_name() -> None:
    async def handler(body: bytes) -> web.StreamResponse:
        match body:
            case b"busy":
                return web.Response(status=429)
            case b"broken":
                return web.Response(status=500)
            case b"wrong":
                return answer(999)
            case b"unreadable":
                return web.Response(text="<html>")
            case b"cut off":
                raise asyncio.CancelledError  # closes the connection without an answer
        return await right(body)

    names = ["busy", "broken", "wrong", "unreadable", "cut off"]
    photos = [*PHOTOS, *(type(PHOTOS[0])(name, name.encode()) for name in names)]
    expected = EXPECTED | dict.fromkeys(names, 1)
    with stub(handler) as url:
        load = asyncio.run(open_loop(f"{url}/classify", photos, rate=100, seconds=0.3, expected=expected))
    found = summarise_load(load)
    sent = Counter(photos[number % len(photos)].name for number in range(len(load.samples)))
    assert found["requests"] == sent.total() > len(photos)
    assert found["rejected"] == sent["busy"]
    assert found["accepted"] == sum(sent[photo.name] for photo in PHOTOS)
    assert found["failures"] == {
        "status 500": sent["broken"],
        "wrong class": sent["wrong"],
        "invalid response": sent["unreadable"],
        "ServerDisconnectedError": sent["cut off"],
    }
    assert found["failed"] == sum(found["failures"].values())
    assert found["rejection_ms"]["max"] > 0


def test_a_request_without_an_answer_in_time_has_failed() -> None:
    async def handler(body: bytes) -> web.StreamResponse:
        await asyncio.sleep(60)
        return answer(int(body))

    with stub(handler) as url:
        load = asyncio.run(closed_loop(f"{url}/classify", PHOTOS, clients=2, seconds=0.1, timeout=0.2))
    assert set(summarise_load(load)["failures"]) <= {"TimeoutError", "ServerTimeoutError", "ConnectionTimeoutError"}
    assert 1 <= len(load.of("failed")) == len(load.samples) <= 2


def test_a_server_that_is_not_there_has_failed_and_is_not_asked_without_pause() -> None:
    load = asyncio.run(closed_loop("http://127.0.0.1:9/classify", PHOTOS, clients=1, seconds=0.2, back_off=0.05))
    assert 1 <= len(load.of("failed")) == len(load.samples) <= 5
    assert summarise_load(load)["failures"] == {"ClientConnectorError": len(load.samples)}
    assert load.throughput == 0


def test_arrivals_are_the_same_for_everybody_and_as_many_as_the_rate_says() -> None:
    times = arrivals(50, 100, seed=3)
    assert times == arrivals(50, 100, seed=3) == sorted(times)
    assert times != arrivals(50, 100, seed=4)
    assert 0 <= times[0] < times[-1] < 100
    assert len(times) == pytest.approx(5000, rel=0.05)
    assert len(arrivals(0.5, 1)) <= 5
    with pytest.raises(ValueError, match="above 0, not 0"):
        arrivals(0, 1)


def test_stages_add_up_to_the_latency() -> None:
    stages = {"decode": 10.0, "queue": 5.0, "inference": 20.0, "total": 40.0}
    samples = tuple(Sample(0, 0, seconds, "accepted", "", stages) for seconds in (0.05, 0.07))
    found = summarise_load(Load(samples, 2.0, 0.5))
    assert found["stages_ms"] == pytest.approx({"decode": 10, "queue": 5, "inference": 20, "rest": 5, "outside": 20})
    assert sum(found["stages_ms"].values()) == pytest.approx(found["latency_ms"]["mean"])
    assert found["throughput"] == 1.0
    assert found["client_cores"] == 0.25
    assert summarise_load(Load((), 0.0))["throughput"] == 0


def test_rounds_are_put_together() -> None:
    first = Load((Sample(0, 0, 0.1, "accepted"),), 1.0, 0.1)
    both = first.merged(Load((Sample(0, 0, 0.2, "failed", "status 500"),), 2.0, 0.2))
    assert (len(both.samples), both.seconds) == (2, 3.0)
    assert both.client_seconds == pytest.approx(0.3)

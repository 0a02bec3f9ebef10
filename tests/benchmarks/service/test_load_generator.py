"""Load generator: concurrency of a closed loop, arrivals of an open loop, and the outcome of every request."""

import asyncio
from collections import Counter

import pytest
from aiohttp import web

from tessella.benchmarks.service.load_generator import Load, Sample, arrivals, closed_loop, open_loop, summarise_load

from ...support.classify_stub import EXPECTED, PHOTOS, classification, echo_class, stub


def test_a_closed_loop_has_one_request_in_flight_per_client_and_sends_every_photograph() -> None:
    in_flight, max_in_flight, bodies = 0, 0, Counter[bytes]()

    async def handler(body: bytes) -> web.StreamResponse:
        nonlocal in_flight, max_in_flight
        in_flight += 1
        max_in_flight = max(max_in_flight, in_flight)
        bodies[body] += 1
        await asyncio.sleep(0.01)
        in_flight -= 1
        return classification(int(body))

    with stub(handler) as url:
        load = asyncio.run(closed_loop(f"{url}/classify", PHOTOS, clients=3, seconds=0.3, expected=EXPECTED))
    assert max_in_flight == 3
    assert set(bodies) == {photo.data for photo in PHOTOS}
    assert len(load.of("accepted")) == len(load.samples) == bodies.total()
    assert load.throughput == pytest.approx(len(load.samples) / load.seconds)


def test_a_closed_loop_ends_when_stop_is_set() -> None:
    async def load(url: str) -> Load:
        stop = asyncio.Event()
        loading = asyncio.create_task(closed_loop(f"{url}/classify", PHOTOS, clients=2, seconds=600, stop=stop))
        await asyncio.sleep(0.1)
        stop.set()
        return await loading

    with stub() as url:
        assert asyncio.run(load(url)).of("accepted")


def test_an_open_loop_sends_without_waiting_for_responses() -> None:
    """The stub responds when the last request has arrived: clients that wait for a response would time out."""
    expected, arrived = len(arrivals(200, 0.2)), 0
    complete: asyncio.Event | None = None

    async def handler(body: bytes) -> web.StreamResponse:
        nonlocal arrived, complete
        complete = complete or asyncio.Event()
        arrived += 1
        if arrived == expected:
            complete.set()
        await complete.wait()
        return classification(int(body))

    with stub(handler) as url:
        load = asyncio.run(open_loop(f"{url}/classify", PHOTOS, rate=200, seconds=0.2, expected=EXPECTED, timeout=60))
    assert len(load.of("accepted")) == expected > 10


def test_latency_counts_from_when_a_request_was_due() -> None:
    """One at a time, 20 ms each, due five times as often: response k cannot arrive before (k + 1) × 20 ms."""
    pause = 0.02

    async def handler(body: bytes) -> web.StreamResponse:
        await asyncio.sleep(pause)
        return classification(int(body))

    with stub(handler) as url:
        load = asyncio.run(open_loop(f"{url}/classify", PHOTOS, rate=5 / pause, seconds=0.2, max_in_flight=1))
    assert [sample.due for sample in load.samples] == arrivals(5 / pause, 0.2)
    for number, sample in enumerate(load.samples):
        assert sample.due + sample.seconds >= (number + 1) * pause * 0.95
        assert sample.seconds >= sample.sent - sample.due
    summary = summarise_load(load)
    assert summary["client_lag_ms"]["max"] > 100
    assert 0 < summary["held_back"] < summary["requests"]


def test_a_rejection_counts_from_its_sending_unless_it_was_held_back() -> None:
    client_late = Sample(1.0, 1.5, 0.51, "rejected")
    held_back = Sample(1.0, 1.5, 0.51, "rejected", held_back=True)
    assert client_late.reply_seconds == pytest.approx(0.01)
    assert held_back.reply_seconds == pytest.approx(0.51)
    summary = summarise_load(Load((client_late,), 2.0))
    assert summary["rejection_ms"]["max"] == pytest.approx(10)
    assert summary["client_lag_ms"]["max"] == pytest.approx(500)
    assert summary["held_back"] == 0
    assert summarise_load(Load((held_back,), 2.0))["rejection_ms"]["max"] == pytest.approx(510)
    accepted = summarise_load(Load((Sample(1.0, 1.5, 0.51, "accepted"),), 2.0))
    assert accepted["latency_ms"]["max"] == pytest.approx(510), "accepted requests count from when they were due"


def test_every_outcome_is_counted_by_its_reason() -> None:
    async def handler(body: bytes) -> web.StreamResponse:
        match body:
            case b"busy":
                return web.Response(status=429)
            case b"broken":
                return web.Response(status=500)
            case b"wrong":
                return classification(999)
            case b"unreadable":
                return web.Response(text="<html>")
            case b"cut off":
                raise asyncio.CancelledError  # closes the connection without a response
        return await echo_class(body)

    names = ["busy", "broken", "wrong", "unreadable", "cut off"]
    photos = [*PHOTOS, *(type(PHOTOS[0])(name, name.encode()) for name in names)]
    expected = EXPECTED | dict.fromkeys(names, 1)
    with stub(handler) as url:
        load = asyncio.run(open_loop(f"{url}/classify", photos, rate=100, seconds=0.3, expected=expected))
    summary = summarise_load(load)
    sent = Counter(photos[number % len(photos)].name for number in range(len(load.samples)))
    assert summary["requests"] == sent.total() > len(photos)
    assert summary["rejected"] == sent["busy"]
    assert summary["accepted"] == sum(sent[photo.name] for photo in PHOTOS)
    assert summary["failures"] == {
        "status 500": sent["broken"],
        "wrong class": sent["wrong"],
        "invalid response": sent["unreadable"],
        "ServerDisconnectedError": sent["cut off"],
    }
    assert summary["failed"] == sum(summary["failures"].values())
    assert summary["rejection_ms"]["max"] > 0


def test_a_request_that_times_out_has_failed() -> None:
    async def handler(body: bytes) -> web.StreamResponse:
        await asyncio.sleep(60)
        return classification(int(body))

    with stub(handler) as url:
        load = asyncio.run(closed_loop(f"{url}/classify", PHOTOS, clients=2, seconds=0.1, timeout=0.2))
    assert set(summarise_load(load)["failures"]) <= {"TimeoutError", "ServerTimeoutError", "ConnectionTimeoutError"}
    assert 1 <= len(load.of("failed")) == len(load.samples) <= 2


def test_a_refused_connection_has_failed_and_clients_back_off() -> None:
    load = asyncio.run(closed_loop("http://127.0.0.1:9/classify", PHOTOS, clients=1, seconds=0.2, back_off=0.05))
    assert 1 <= len(load.of("failed")) == len(load.samples) <= 5
    assert summarise_load(load)["failures"] == {"ClientConnectorError": len(load.samples)}
    assert load.throughput == 0


def test_arrivals_depend_on_the_seed_alone_and_have_the_given_rate() -> None:
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
    summary = summarise_load(Load(samples, 2.0, 0.5))
    assert summary["stages_ms"] == pytest.approx({"decode": 10, "queue": 5, "inference": 20, "rest": 5, "outside": 20})
    assert sum(summary["stages_ms"].values()) == pytest.approx(summary["latency_ms"]["mean"])
    assert summary["throughput"] == 1.0
    assert summary["client_cores"] == 0.25
    assert summarise_load(Load((), 0.0))["throughput"] == 0


def test_loads_are_concatenated() -> None:
    first = Load((Sample(0, 0, 0.1, "accepted"),), 1.0, 0.1)
    both = first.merged(Load((Sample(0, 0, 0.2, "failed", "status 500"),), 2.0, 0.2))
    assert (len(both.samples), both.seconds) == (2, 3.0)
    assert both.client_seconds == pytest.approx(0.3)

"""Supervisor, front ends and engines as real processes: one correct response per request, also when processes die."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from ...support import pictures
from ...support.live import Process, alive

CLIENTS = 64
FORMATS = ("PNG", "JPEG", "BMP")
TEXT = b"not an image at all"


def image(seed: int) -> bytes:
    """Encoded random image; size and format depend on the seed."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), np.uint8))
    width, height = generator.integers(16, 200, 2)
    return pictures.encode(coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC), FORMATS[seed % 3])


IMAGES = [image(seed) for seed in range(48)]


@dataclass
class Outcome:
    """Responses of all clients: statuses, results of another image, and requests without a response."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[Any] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[Process]:
    """Two front ends and one engine; indirect parameters are further options."""
    options = getattr(request, "param", ())
    process = Process("--model", "digits-vit", "--frontends", "2", *options).ready()
    try:
        yield process
    finally:
        process.stop()


def expected_scores(url: str) -> list[float]:
    """Top score of each image, sent alone."""
    with httpx.Client(base_url=url) as client:
        return [score(client.post("/classify", content=image)) for image in IMAGES]


def score(response: httpx.Response) -> float:
    top: float = response.json()["results"][0]["predictions"][0]["score"]
    return top


async def classify(
    client: httpx.AsyncClient, choice: int, expected: list[float], outcome: Outcome
) -> httpx.Response | None:
    """Send a valid image and compare its result with the expected one."""
    number = choice % len(IMAGES)
    try:
        response = await client.post("/classify", content=IMAGES[number])
    except httpx.TransportError as error:
        outcome.unanswered.append(repr(error))
        return None
    outcome.statuses[response.status_code] += 1
    if response.status_code == 200 and abs(score(response) - expected[number]) > 1e-4:
        outcome.wrong.append((number, response.json()))
    return response


def run_clients(url: str, visit: Any) -> None:
    """Run `visit(client, number)` for CLIENTS clients at once, each with a connection of its own."""

    async def one(number: int) -> None:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            await visit(client, number)

    async def everyone() -> None:
        async with asyncio.timeout(240):
            await asyncio.gather(*(one(number) for number in range(CLIENTS)))

    asyncio.run(everyone())


def test_2000_mixed_requests_get_exactly_one_response_each(process: Process) -> None:
    expected = expected_scores(process.url)
    outcome, cancelled, sent = Outcome(), Counter[str](), Counter[str]()
    turns = 2000 // CLIENTS + 1
    plans = random.Random(0).choices(
        ["valid", "corrupt", "oversized", "cancelled", "deadline", "several"], [60, 10, 5, 10, 5, 10], k=turns * CLIENTS
    )

    async def visit(client: httpx.AsyncClient, number: int) -> None:
        for turn in range(turns):
            plan, choice = plans[number * turns + turn], number * 31 + turn
            sent[plan] += 1
            match plan:
                case "valid":
                    response = await classify(client, choice, expected, outcome)
                    assert response is not None
                    assert response.status_code == 200
                case "corrupt":
                    assert (await client.post("/classify", content=TEXT)).status_code == 422
                case "oversized":
                    assert (await client.post("/classify", content=pictures.huge_header())).status_code == 413
                case "cancelled":
                    try:
                        await client.post("/classify", content=IMAGES[choice % 48], timeout=0.002)
                    except httpx.TimeoutException:
                        cancelled["gone"] += 1
                case "deadline":
                    late = await client.post("/classify?timeout_ms=1", content=IMAGES[choice % 48])
                    assert late.status_code in (200, 504)
                case "several":
                    await several(client, choice, expected)

    async def several(client: httpx.AsyncClient, choice: int, expected: list[float]) -> None:
        numbers = [(choice + step) % 48 for step in range(5)]
        parts = [("image", IMAGES[number]) for number in numbers]
        results = (await client.post("/classify", files=[*parts[:3], ("image", TEXT), *parts[3:]])).json()["results"]
        assert results.pop(3)["error_type"] == "invalid_image"
        for number, result in zip(numbers, results, strict=True):
            assert abs(result["predictions"][0]["score"] - expected[number]) < 1e-4

    run_clients(process.url, visit)
    assert sent.total() >= 2000
    assert len(sent) == 6
    assert not outcome.unanswered
    assert not outcome.wrong
    assert cancelled["gone"] > 0


@pytest.mark.parametrize("process", [("--drain-delay", "1.5")], indirect=True)
def test_sigterm_under_load_loses_no_request(process: Process) -> None:
    expected, outcome = expected_scores(process.url), Outcome()

    async def visit(client: httpx.AsyncClient, number: int) -> None:
        for turn in range(10_000):
            if number == 0 and turn == 5:
                process.process.send_signal(signal.SIGTERM)
            response = await classify(client, number * 31 + turn, expected, outcome)
            if response is None or response.headers.get("connection") == "close":
                return  # as a load balancer does

    run_clients(process.url, visit)
    assert not outcome.unanswered
    assert not outcome.wrong
    assert set(outcome.statuses) == {200}
    assert outcome.statuses[200] > CLIENTS
    assert process.wait() == 0


@pytest.mark.parametrize("frontends", ["0", "1"])
def test_sigterm_while_a_model_is_loading_exits_with_0(frontends: str) -> None:
    process = Process("--model", "digits-vit", "--frontends", frontends)
    assert process._listening.wait(60)
    time.sleep(0.5)
    assert process.stop() == 0, "".join(process.log)
    assert "Traceback" not in "".join(process.log)


def test_a_killed_engine_causes_503_at_most_and_is_restarted(process: Process) -> None:
    expected, outcome = expected_scores(process.url), Outcome()
    finished = asyncio.Event()

    async def visit(client: httpx.AsyncClient, number: int) -> None:
        for turn in range(400):
            if number == 0 and turn == 5:
                os.kill(process.children("engine")[-1], signal.SIGKILL)
            response = await classify(client, number * 31 + turn, expected, outcome)
            if number == 0 and response is not None and response.status_code == 200 and outcome.statuses[503]:
                finished.set()
            if finished.is_set():
                return
            if response is not None and response.status_code == 503:
                await asyncio.sleep(0.2)

    run_clients(process.url, visit)
    assert finished.is_set()
    assert not outcome.unanswered
    assert not outcome.wrong
    assert set(outcome.statuses) == {200, 503}
    assert len(process.children("engine")) == 2
    process.ready()


@pytest.mark.parametrize("process", [("--hang-timeout", "5")], indirect=True)
def test_a_hanging_engine_is_killed_and_restarted(process: Process) -> None:
    os.kill(process.children("engine")[-1], signal.SIGSTOP)
    response = httpx.post(f"{process.url}/classify", content=IMAGES[0], timeout=60)
    assert (response.status_code, response.json()["error_type"]) == (503, "not_ready")
    process.ready()
    assert len(process.children("engine")) == 2


@pytest.mark.parametrize("process", [("--hang-timeout", "3")], indirect=True)
def test_a_hanging_front_end_is_killed_and_restarted_while_the_other_serves(process: Process) -> None:
    process.until(lambda: process.startup_complete)
    victim, other = process.children("frontend")
    os.kill(victim, signal.SIGSTOP)
    answered, deadline = 0, time.monotonic() + 60
    while len(process.children("frontend")) < 3:
        assert time.monotonic() < deadline, "".join(process.log)
        with suppress(httpx.TransportError):  # the kernel assigns some connections to the hanging front end
            answered += httpx.post(f"{process.url}/classify", content=IMAGES[0], timeout=2).status_code == 200
        time.sleep(0.1)
    assert answered > 0
    assert f"(pid {victim}) hangs" in "".join(process.log)
    os.kill(other, 0)  # raises if it has exited
    assert len(process.children("engine")) == 1
    process.ready()
    assert {httpx.post(f"{process.url}/classify", content=IMAGES[0]).status_code for _ in range(8)} == {200}


@pytest.mark.parametrize("process", [("--device", "cpu,cpu")], indirect=True)
def test_a_model_on_two_devices_uses_both_and_is_served_by_one_while_the_other_restarts(process: Process) -> None:
    expected, outcome = expected_scores(process.url), Outcome()

    async def visit(client: httpx.AsyncClient, number: int) -> None:
        for turn in range(4):
            await classify(client, number * 31 + turn, expected, outcome)

    run_clients(process.url, visit)
    assert (dict(outcome.statuses), outcome.wrong, outcome.unanswered) == ({200: 4 * CLIENTS}, [], [])
    first, second = process.children("engine")
    deadline = time.monotonic() + 30
    while not all(f'process="{engine}"' in last_inference_lines(process) for engine in (first, second)):
        assert time.monotonic() < deadline, last_inference_lines(process)
        time.sleep(0.1)
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while len(process.children("engine")) == 2:
        assert time.monotonic() < deadline
        assert httpx.post(f"{process.url}/classify", content=IMAGES[0]).status_code in (200, 503)
    assert {httpx.post(f"{process.url}/classify", content=IMAGES[0]).status_code for _ in range(20)} == {200}
    process.ready()


def last_inference_lines(process: Process) -> str:
    """Metrics lines of all processes that have run a model."""
    lines = httpx.get(f"{process.url}/metrics").text.splitlines()
    return "\n".join(line for line in lines if line.startswith("tessella_last_inference_timestamp_seconds{"))


def test_a_dead_front_end_is_restarted_while_the_other_serves(process: Process) -> None:
    expected = expected_scores(process.url)
    with httpx.Client(base_url=process.url) as client:
        for victim in process.children("frontend"):
            os.kill(victim, signal.SIGKILL)
            for number in range(20):
                responses = (post_with_retries(client, IMAGES[number]) for _ in range(3))
                assert all(abs(score(response) - expected[number]) < 1e-4 for response in responses)
    assert len(process.children("frontend")) >= 3


def post_with_retries(client: httpx.Client, image: bytes) -> httpx.Response:
    """First successful response; the client reconnects when its front end dies."""
    for _ in range(200):
        try:
            response = client.post("/classify", content=image)
        except httpx.TransportError:
            continue
        if response.status_code == 200:
            return response
    raise AssertionError("no success in 200 attempts")


@pytest.mark.parametrize("process", [("--max-queue", "8", "--max-batch-size", "4")], indirect=True)
def test_overload_is_429_and_accepted_requests_succeed(process: Process) -> None:
    expected, outcome = expected_scores(process.url), Outcome()

    async def visit(client: httpx.AsyncClient, number: int) -> None:
        for turn in range(10):
            response = await classify(client, number * 31 + turn, expected, outcome)
            if response is not None and response.status_code == 429:
                assert int(response.headers["retry-after"]) > 0

    run_clients(process.url, visit)
    assert not outcome.unanswered
    assert not outcome.wrong
    assert set(outcome.statuses) == {200, 429}
    assert sum(outcome.statuses.values()) == 10 * CLIENTS


def test_no_process_is_left_when_the_supervisor_is_killed(process: Process) -> None:
    children = process.children("engine") + process.children("frontend")
    assert len(children) == 3
    process.process.kill()
    process.until(lambda: not any(map(alive, children)), timeout=30)

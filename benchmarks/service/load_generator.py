"""Load generator over HTTP: a closed loop of concurrent clients, or an open loop with a fixed arrival rate."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Literal

import aiohttp
import numpy as np

from ..photos import Photo
from ..timing import summarise

Outcome = Literal["accepted", "rejected", "failed"]
HEADERS = {"content-type": "image/jpeg"}
MAX_IN_FLIGHT = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Times in seconds; `due` and `sent` are relative to the start of the load."""

    due: float
    sent: float
    seconds: float
    """Latency from `due`, not from `sent`, so that a late start counts (no coordinated omission)."""
    outcome: Outcome
    reason: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Time per stage as reported by the server, in milliseconds."""
    held_back: bool = False
    """Sent late because the maximum number of requests was in flight, a delay that the server caused."""

    @property
    def reply_seconds(self) -> float:
        """Latency that the server caused: from `sent`, or from `due` where the request was held back."""
        return self.seconds if self.held_back else self.seconds - (self.sent - self.due)


@dataclass(frozen=True, slots=True)
class Load:
    """Results of one load. `seconds`: from its start to the last response."""

    samples: tuple[Sample, ...]
    seconds: float
    client_seconds: float = 0.0
    """CPU time of the load generator."""

    def of(self, outcome: Outcome) -> list[Sample]:
        return [sample for sample in self.samples if sample.outcome == outcome]

    @property
    def throughput(self) -> float:
        """Correct responses per second."""
        return len(self.of("accepted")) / self.seconds if self.seconds else 0.0

    def merged(self, other: "Load") -> "Load":
        """Concatenation of two loads."""
        samples = self.samples + other.samples
        return Load(samples, self.seconds + other.seconds, self.client_seconds + other.client_seconds)


def summarise_load(load: Load) -> dict[str, Any]:
    """Summary of a load as JSON values: counts, latency of accepted and of rejected requests, time per stage.

    `latency_ms`, of accepted requests, counts from when they were due. `rejection_ms` counts from when they were sent,
    since the client itself is late on a busy machine, by `client_lag_ms`; for requests that were held back, from when
    they were due.
    """
    accepted, rejected = load.of("accepted"), load.of("rejected")
    document: dict[str, Any] = {
        "requests": len(load.samples),
        "accepted": len(accepted),
        "rejected": len(rejected),
        "failed": len(load.of("failed")),
        "failures": dict(Counter(sample.reason for sample in load.of("failed"))),
        "seconds": load.seconds,
        "throughput": load.throughput,
        "latency_ms": summarise([sample.seconds for sample in accepted]),
        "stages_ms": _stages(accepted),
        "client_lag_ms": summarise([sample.sent - sample.due for sample in load.samples]),
        "held_back": sum(sample.held_back for sample in load.samples),
        "client_cores": load.client_seconds / load.seconds if load.seconds else 0.0,
    }
    return document | ({"rejection_ms": summarise([sample.reply_seconds for sample in rejected])} if rejected else {})


def _stages(samples: Sequence[Sample]) -> dict[str, float]:
    """Mean time per stage, which add up to the mean latency: stages, rest of the server's time, time outside of it."""
    timed = [sample for sample in samples if "total" in sample.stages]
    if not timed:
        return {}
    names = [name for name in timed[0].stages if name != "total"]
    means = {name: float(np.mean([sample.stages[name] for sample in timed])) for name in names}
    total = float(np.mean([sample.stages["total"] for sample in timed]))
    latency = float(np.mean([sample.seconds for sample in timed])) * 1e3
    return {**means, "rest": total - sum(means.values()), "outside": latency - total}


async def closed_loop(
    url: str,
    photos: Sequence[Photo],
    *,
    clients: int,
    seconds: float,
    expected: Mapping[str, int] | None = None,
    timeout: float = 60,
    back_off: float = 0.05,
    stop: asyncio.Event | None = None,
) -> Load:
    """Closed loop: each client sends the next photograph when it has the response to the previous one.

    Args:
        url: endpoint to post to.
        seconds: duration; pending responses are awaited after it.
        expected: class of each photograph by its name; another class counts as failed. Default: any class is correct.
        timeout: of a request, in seconds.
        back_off: pause of a client after a request that was not accepted, in seconds.
        stop: ends the loop early.
    """
    async with _session(timeout, clients) as session:
        sender = _Sender(session, url, expected or {})

        async def client(number: int) -> None:
            for photo in islice(cycle(photos), number % len(photos), None):
                if sender.now() >= seconds or (stop and stop.is_set()):
                    return
                if await sender.send(photo, sender.now()) != "accepted":
                    await asyncio.sleep(back_off)

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(client(number))
        return sender.load()


async def open_loop(
    url: str,
    photos: Sequence[Photo],
    *,
    rate: float,
    seconds: float,
    expected: Mapping[str, int] | None = None,
    timeout: float = 60,
    seed: int = 0,
    max_in_flight: int = MAX_IN_FLIGHT,
) -> Load:
    """Open loop: requests at predetermined times, whether or not earlier ones have been answered.

    Latency counts from the time a request was due, so that a stall of the server counts for each request it delays.

    Args:
        rate: mean requests per second; arrivals are a Poisson process.
        seed: of the arrival times.
        max_in_flight: maximum requests at once; further ones are held back until one ends, and their latency counts.

    Other arguments are as for `closed_loop`.
    """
    async with _session(timeout, max_in_flight) as session:
        sender = _Sender(session, url, expected or {})
        slots = asyncio.Semaphore(max_in_flight)

        async def request(photo: Photo, due: float, held_back: bool) -> None:
            try:
                await sender.send(photo, due, held_back=held_back)
            finally:
                slots.release()

        async with asyncio.TaskGroup() as group:
            for photo, due in zip(cycle(photos), arrivals(rate, seconds, seed), strict=False):
                await asyncio.sleep(max(0.0, due - sender.now()))
                held_back = slots.locked()
                await slots.acquire()
                group.create_task(request(photo, due, held_back))
        return sender.load()


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Arrival times of a Poisson process, in seconds, from 0 to below `seconds`.

    Raises:
        ValueError: `rate` is not positive.
    """
    if rate <= 0:
        raise ValueError(f"the rate, in requests per second, must be above 0, not {rate}")
    generator = np.random.default_rng(seed)
    count = int(rate * seconds + 6 * (rate * seconds) ** 0.5) + 16
    times = np.cumsum(generator.exponential(1 / rate, count))
    return [float(arrival) for arrival in times[times < seconds]]


class _Sender:
    """Sender of requests; records a sample of each. Its clock starts with its construction."""

    def __init__(self, session: aiohttp.ClientSession, url: str, expected: Mapping[str, int]) -> None:
        self._session = session
        self._url = url
        self._expected = expected
        self._samples: list[Sample] = []
        self._started = time.perf_counter()
        self._cpu_started = time.process_time()

    def now(self) -> float:
        return time.perf_counter() - self._started

    def load(self) -> Load:
        return Load(tuple(self._samples), self.now(), time.process_time() - self._cpu_started)

    async def send(self, photo: Photo, due: float, *, held_back: bool = False) -> Outcome:
        sent = self.now()
        stages: dict[str, float] = {}
        try:
            async with self._session.post(self._url, data=photo.data, headers=HEADERS) as response:
                body = await response.read()
            outcome, reason, stages = self._evaluate(response.status, body, photo)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome, reason = "failed", type(error).__name__
        self._samples.append(Sample(due, sent, self.now() - due, outcome, reason, stages, held_back))
        return outcome

    def _evaluate(self, status: int, body: bytes, photo: Photo) -> tuple[Outcome, str, dict[str, float]]:
        if status != 200:
            return ("rejected" if status == 429 else "failed"), f"status {status}", {}
        try:
            response = json.loads(body)
            index, _ = top_prediction(response)
        except (ValueError, LookupError, TypeError):
            return "failed", "invalid response", {}
        if index != self._expected.get(photo.name, index):
            return "failed", "wrong class", {}
        return "accepted", "", response.get("timings_ms", {})


def top_prediction(response: Mapping[str, Any]) -> tuple[int, float]:
    """Class and score of the top prediction in a response of `/classify`, whose format the peers use too."""
    best = response["results"][0]["predictions"][0]
    return int(best["index"]), float(best["score"])


def _session(timeout: float, connections: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=connections)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=timeout))

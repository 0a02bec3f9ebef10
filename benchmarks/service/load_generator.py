"""Load on one server over real sockets: a number of clients (closed loop), or a rate that does not wait (open loop)."""

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

Verdict = Literal["accepted", "rejected", "failed"]
HEADERS = {"content-type": "image/jpeg"}
MOST_OPEN = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Times in seconds; `due` and `sent` since the load began."""

    due: float
    sent: float
    seconds: float
    """From `due`, not from `sent`: what a client waits that was to send then, however late it was sent."""
    verdict: Verdict
    reason: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    """What the server says it spent, in milliseconds."""
    held_back: bool = False
    """It was sent late because as many as may be were under way, which is the server's doing."""

    @property
    def reply_seconds(self) -> float:
        """What the server is to answer for: from `sent`; from `due` where it was held back."""
        return self.seconds if self.held_back else self.seconds - (self.sent - self.due)


@dataclass(frozen=True, slots=True)
class Load:
    """What came of all requests. `seconds`: from the first sending to the last answer."""

    samples: tuple[Sample, ...]
    seconds: float
    client_seconds: float = 0.0
    """Processor time of the client meanwhile."""

    def of(self, verdict: Verdict) -> list[Sample]:
        return [sample for sample in self.samples if sample.verdict == verdict]

    @property
    def throughput(self) -> float:
        """Right answers per second."""
        return len(self.of("accepted")) / self.seconds if self.seconds else 0.0

    def merged(self, other: "Load") -> "Load":
        """Both, one after the other."""
        samples = self.samples + other.samples
        return Load(samples, self.seconds + other.seconds, self.client_seconds + other.client_seconds)


def summarise_load(load: Load) -> dict[str, Any]:
    """As JSON values: counts, latencies of what was accepted and of what was rejected, where the time went.

    `latency_ms`, of what was accepted, counts from when it was due. `rejection_ms` counts from when it was sent: on a
    busy machine the client is late by itself, by `client_lag_ms`, and nothing of the server delays an open loop's
    sending. What was held back because too much was under way counts from when it was due there too.
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
    """Means, so that they add up: the server's stages, the rest of its time, and what lies outside of it."""
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
    """Clients that each send the next photograph when they have the answer to the last one.

    Args:
        url: what is posted to.
        seconds: after which no more is sent; answers to what was sent are waited for.
        expected: class of each photograph, by its name; another answer has failed. Default: any answer is right.
        timeout: seconds after which a request has failed.
        back_off: seconds that a client waits after anything but an answer.
        stop: ends it earlier.
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
    most_open: int = MOST_OPEN,
) -> Load:
    """Requests at times fixed beforehand, whether or not earlier ones are answered: visitors who know not each other.

    Latency counts from the time a request was due, so a server that stalls pays for every request that it delayed.

    Args:
        rate: requests per second in the mean; arrivals are a Poisson process.
        seed: of the arrival times.
        most_open: requests under way at once; more wait for one of these to end, and their time counts. Others as
            `closed_loop`.
    """
    async with _session(timeout, most_open) as session:
        sender = _Sender(session, url, expected or {})
        free = asyncio.Semaphore(most_open)

        async def visitor(photo: Photo, due: float, held_back: bool) -> None:
            try:
                await sender.send(photo, due, held_back=held_back)
            finally:
                free.release()

        async with asyncio.TaskGroup() as group:
            for photo, due in zip(cycle(photos), arrivals(rate, seconds, seed), strict=False):
                await asyncio.sleep(max(0.0, due - sender.now()))
                full = free.locked()
                await free.acquire()
                group.create_task(visitor(photo, due, full))
        return sender.load()


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Times of a Poisson process, in seconds from 0 to below `seconds`.

    Raises:
        ValueError: a rate that is not positive.
    """
    if rate <= 0:
        raise ValueError(f"a rate is requests per second and above 0, not {rate}")
    generator = np.random.default_rng(seed)
    likely = int(rate * seconds + 6 * (rate * seconds) ** 0.5) + 16
    times = np.cumsum(generator.exponential(1 / rate, likely))
    return [float(moment) for moment in times[times < seconds]]


class _Sender:
    """Sends, and keeps a sample of each request. Its clock starts when it is made."""

    def __init__(self, session: aiohttp.ClientSession, url: str, expected: Mapping[str, int]) -> None:
        self._session = session
        self._url = url
        self._expected = expected
        self._samples: list[Sample] = []
        self._started = time.perf_counter()
        self._processor_started = time.process_time()

    def now(self) -> float:
        return time.perf_counter() - self._started

    def load(self) -> Load:
        return Load(tuple(self._samples), self.now(), time.process_time() - self._processor_started)

    async def send(self, photo: Photo, due: float, *, held_back: bool = False) -> Verdict:
        sent = self.now()
        stages: dict[str, float] = {}
        try:
            async with self._session.post(self._url, data=photo.data, headers=HEADERS) as response:
                body = await response.read()
            verdict, reason, stages = self._judge(response.status, body, photo)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            verdict, reason = "failed", type(error).__name__
        self._samples.append(Sample(due, sent, self.now() - due, verdict, reason, stages, held_back))
        return verdict

    def _judge(self, status: int, body: bytes, photo: Photo) -> tuple[Verdict, str, dict[str, float]]:
        if status != 200:
            return ("rejected" if status == 429 else "failed"), f"status {status}", {}
        try:
            answer = json.loads(body)
            index, _ = top_prediction(answer)
        except (ValueError, LookupError, TypeError):
            return "failed", "unreadable answer", {}
        if index != self._expected.get(photo.name, index):
            return "failed", "wrong answer", {}
        return "accepted", "", answer.get("timings_ms", {})


def top_prediction(answer: Mapping[str, Any]) -> tuple[int, float]:
    """Class and score of the most likely class in the JSON of `/classify`, which peers answer in too."""
    best = answer["results"][0]["predictions"][0]
    return int(best["index"]), float(best["score"])


def _session(timeout: float, connections: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=connections)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=timeout))

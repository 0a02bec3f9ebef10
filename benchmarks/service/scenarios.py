"""Two promises under stress: too many requests are refused at once, and a killed engine comes back."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..photos import Photo
from .load_generator import Load, Sample, closed_loop, open_loop, summarise_load
from .servers import Server, ServerError, ServerSettings, all_ready, start_tessella

MOST_REJECTION_MS = 50.0
MOST_RECOVERY_SECONDS = 10.0
LONGEST_ABSENCE_SECONDS = 60.0
QUEUE = 32
OVERLOAD = 2.0
SLACK = 1.5
"""How much longer than the images before it take on average an accepted request may take at p99."""

Progress = Callable[[str], object]
Run = Callable[[Any], Any]


def overload(
    settings: ServerSettings,
    photos: Sequence[Photo],
    expected: Mapping[str, int],
    *,
    log: Path,
    seconds: float,
    options: Sequence[str] = (),
    run: Run = asyncio.run,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Twice as many requests as the service can answer, on a queue of `QUEUE` images.

    Holds when p99 of the rejections is within 50 ms of their sending, that of the accepted within `SLACK` times what a
    full queue takes, and nothing fails.
    """
    server = start_tessella(settings, log, *options, "--max-queue", str(QUEUE))
    progress("overload: starting a server with a short queue")
    with all_ready([server]):
        url = f"{server.url}/classify"
        progress("overload: measuring what it can do")
        capacity = run(closed_loop(url, photos, clients=QUEUE, seconds=max(1.0, seconds / 4), expected=expected))
        progress(f"overload: {OVERLOAD:g} times {capacity.throughput:.0f} requests/s")
        if not capacity.throughput:
            raise ServerError(f"tessella answered nothing right: {summarise_load(capacity)['failures']}")
        load = run(open_loop(url, photos, rate=OVERLOAD * capacity.throughput, seconds=seconds, expected=expected))
    return _judge_overload(capacity.throughput, load)


def _judge_overload(capacity: float, load: Load) -> dict[str, Any]:
    found = summarise_load(load)
    bound = SLACK * QUEUE / load.throughput * 1e3 if load.throughput else 0.0
    rejection = _highest(found["rejection_ms"]) if "rejection_ms" in found else None
    claims = [
        _claim("a rejection comes within 50 ms of its sending", "p99 ms", rejection, MOST_REJECTION_MS),
        _claim("what is accepted is answered in bounded time", "p99 ms", _highest(found["latency_ms"]), bound),
        _claim("nothing fails", "count", found["failed"], 0),
    ]
    return {"capacity": capacity, "rate": OVERLOAD * capacity, "max_queue": QUEUE, **found, "claims": claims}


def _highest(latency: Mapping[str, float | None]) -> float | None:
    return latency["p99"] if latency["p99"] is not None else latency["max"]


def kill(
    settings: ServerSettings,
    photos: Sequence[Photo],
    expected: Mapping[str, int],
    *,
    log: Path,
    seconds: float,
    options: Sequence[str] = (),
    clients: int = 8,
    run: Run = asyncio.run,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """`kill -9` of the engine process while clients ask; `seconds` before and after its absence.

    Holds when an answer comes within 10 s after the kill, and until then every request gets a 503, not silence.
    """
    server = start_tessella(settings, log, *options, "--frontends", "1")
    progress("kill: starting a front end and an engine")
    with all_ready([server]):
        progress("kill: the engine, while clients ask")
        load, killed_at = run(_kill_under_load(server, photos, expected, clients, seconds))
        restarts = len(server.engine_processes()) - 1
    return _judge_kill(load, killed_at, restarts)


async def _kill_under_load(
    server: Server, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float
) -> tuple[Load, float]:
    """Returns the load and the moment of the kill, in seconds since the load began."""
    stop, started, limit = asyncio.Event(), time.perf_counter(), 2 * seconds + LONGEST_ABSENCE_SECONDS
    asking = closed_loop(f"{server.url}/classify", photos, clients=clients, seconds=limit, expected=expected, stop=stop)
    loading = asyncio.create_task(asking)
    await asyncio.sleep(seconds)
    engines = server.engine_processes()
    os.kill(engines[-1], signal.SIGKILL)
    killed_at = time.perf_counter() - started
    while time.perf_counter() - started < limit - seconds:
        await asyncio.sleep(0.1)
        if len(server.engine_processes()) > len(engines) and await asyncio.to_thread(server.is_ready):
            break
    await asyncio.sleep(seconds)
    stop.set()
    return await loading, killed_at


def _judge_kill(load: Load, killed_at: float, restarts: int) -> dict[str, Any]:
    recovery = recovery_seconds(load.samples, killed_at)
    found = summarise_load(load)
    unexpected = sum(count for reason, count in found["failures"].items() if reason != "status 503")
    claims = [
        _claim("answers again within 10 s after kill -9", "seconds", recovery, MOST_RECOVERY_SECONDS),
        _claim("every request gets 200 or 503", "others", unexpected, 0),
    ]
    return {"killed_at": killed_at, "recovery_seconds": recovery, "restarts": restarts, **found, "claims": claims}


def recovery_seconds(samples: Sequence[Sample], killed_at: float) -> float | None:
    """From the kill to the first right answer to a request that was sent after the first refusal; None if none came."""
    refusals = [
        sample.due for sample in samples if sample.verdict == "failed" and sample.due + sample.seconds > killed_at
    ]
    if not refusals:
        return None
    ends = [s.due + s.seconds for s in samples if s.verdict == "accepted" and s.due > max(killed_at, min(refusals))]
    return min(ends) - killed_at if ends else None


def _claim(claim: str, unit: str, measured: float | None, limit: float) -> dict[str, Any]:
    holds = measured is not None and measured <= limit
    return {"claim": claim, "unit": unit, "measured": measured, "limit": limit, "holds": holds}

"""Stress scenarios with service level objectives: overload is rejected quickly, a killed engine recovers."""

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

MAX_REJECTION_MS = 50.0
MAX_RECOVERY_SECONDS = 10.0
MAX_DOWNTIME_SECONDS = 60.0
MAX_QUEUE = 32
OVERLOAD_FACTOR = 2.0
LATENCY_SLACK = 1.5
"""Maximum p99 latency of accepted requests, relative to the mean time of a full queue."""

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
    """Overload: `OVERLOAD_FACTOR` times the service's capacity, on a queue of `MAX_QUEUE` images.

    Objectives: p99 of rejections within 50 ms of their sending, p99 of accepted requests within `LATENCY_SLACK` times
    the time of a full queue, no failed request.
    """
    server = start_tessella(settings, log, *options, "--max-queue", str(MAX_QUEUE))
    progress("overload: starting a server with a short queue")
    with all_ready([server]):
        url = f"{server.url}/classify"
        progress("overload: measuring the capacity")
        capacity = run(closed_loop(url, photos, clients=MAX_QUEUE, seconds=max(1.0, seconds / 4), expected=expected))
        progress(f"overload: {OVERLOAD_FACTOR:g} times {capacity.throughput:.0f} requests/s")
        if not capacity.throughput:
            raise ServerError(f"tessella gave no correct response: {summarise_load(capacity)['failures']}")
        load = run(
            open_loop(url, photos, rate=OVERLOAD_FACTOR * capacity.throughput, seconds=seconds, expected=expected)
        )
    return _evaluate_overload(capacity.throughput, load)


def _evaluate_overload(capacity: float, load: Load) -> dict[str, Any]:
    summary = summarise_load(load)
    bound = LATENCY_SLACK * MAX_QUEUE / load.throughput * 1e3 if load.throughput else 0.0
    rejection = _highest(summary["rejection_ms"]) if "rejection_ms" in summary else None
    objectives = [
        _objective("rejections within 50 ms of sending", "p99 ms", rejection, MAX_REJECTION_MS),
        _objective("bounded latency of accepted requests", "p99 ms", _highest(summary["latency_ms"]), bound),
        _objective("no failed requests", "count", summary["failed"], 0),
    ]
    return {
        "capacity": capacity,
        "rate": OVERLOAD_FACTOR * capacity,
        "max_queue": MAX_QUEUE,
        **summary,
        "objectives": objectives,
    }


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
    """Kill: `kill -9` of the engine process under load; load for `seconds` before the kill and after the recovery.

    Objectives: a correct response within 10 s after the kill, and a 503 for every request until then.
    """
    server = start_tessella(settings, log, *options, "--frontends", "1")
    progress("kill: starting a front end and an engine")
    with all_ready([server]):
        progress("kill: killing the engine under load")
        load, killed_at = run(_kill_under_load(server, photos, expected, clients, seconds))
        restarts = len(server.engine_processes()) - 1
    return _evaluate_kill(load, killed_at, restarts)


async def _kill_under_load(
    server: Server, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float
) -> tuple[Load, float]:
    """Load a server and kill its engine; returns the load and the time of the kill, in seconds since its start."""
    stop, started, limit = asyncio.Event(), time.perf_counter(), 2 * seconds + MAX_DOWNTIME_SECONDS
    loop = closed_loop(f"{server.url}/classify", photos, clients=clients, seconds=limit, expected=expected, stop=stop)
    loading = asyncio.create_task(loop)
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


def _evaluate_kill(load: Load, killed_at: float, restarts: int) -> dict[str, Any]:
    recovery = recovery_seconds(load.samples, killed_at)
    summary = summarise_load(load)
    unexpected = sum(count for reason, count in summary["failures"].items() if reason != "status 503")
    objectives = [
        _objective("recovery within 10 s after kill -9", "seconds", recovery, MAX_RECOVERY_SECONDS),
        _objective("every response is 200 or 503", "others", unexpected, 0),
    ]
    return {
        "killed_at": killed_at,
        "recovery_seconds": recovery,
        "restarts": restarts,
        **summary,
        "objectives": objectives,
    }


def recovery_seconds(samples: Sequence[Sample], killed_at: float) -> float | None:
    """Seconds from the kill to the first correct response to a request sent after the first failure; None if none."""
    failures = [
        sample.due for sample in samples if sample.outcome == "failed" and sample.due + sample.seconds > killed_at
    ]
    if not failures:
        return None
    ends = [s.due + s.seconds for s in samples if s.outcome == "accepted" and s.due > max(killed_at, min(failures))]
    return min(ends) - killed_at if ends else None


def _objective(name: str, unit: str, measured: float | None, limit: float) -> dict[str, Any]:
    met = measured is not None and measured <= limit
    return {"objective": name, "unit": unit, "measured": measured, "limit": limit, "met": met}

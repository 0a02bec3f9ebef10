"""Benchmark history: one running benchmark, a limited number of runs, and notification of updates."""

import asyncio

import pytest

from tessella.server.errors import BenchmarkNotFound, BenchmarkRunning
from tessella.server.live_benchmarks.history import History
from tessella.server.live_benchmarks.schemas import BenchmarkRequest, Run, State


def run_of(id: str, state: State = "queued") -> Run:
    request = BenchmarkRequest()
    return Run(id=id, state=state, request=request, model="m", backend="", device="", dtype="", created_at="")


def test_only_one_run_is_current() -> None:
    history = History()
    history.add(run_of("1"))
    assert [history.current] == [run_of("1")]
    with pytest.raises(BenchmarkRunning, match="benchmark 1 of m is running"):
        history.add(run_of("2"))
    history.update(run_of("1", "failed"))
    assert history.current is None
    history.add(run_of("2"))
    assert [run.id for run in history.runs] == ["2", "1"]


def test_oldest_runs_are_dropped() -> None:
    history = History(max_runs=2)
    for id in ("1", "2", "3"):
        history.update(run_of(id, "done"))
    assert [run.id for run in history.runs] == ["3", "2"]
    with pytest.raises(BenchmarkNotFound, match="no benchmark '1'; the last 2"):
        history.get("1")


def test_rejected_run_is_removed() -> None:
    history = History()
    history.add(run_of("1"))
    history.remove("1")
    history.remove("1")
    assert (history.runs, history.current) == ([], None)


def test_update_wakes_everyone_who_waits() -> None:
    async def main() -> None:
        history = History()
        waiting = [asyncio.create_task(history.wait_for_update(60)) for _ in range(2)]
        await asyncio.sleep(0)
        history.update(run_of("1"))
        await asyncio.wait_for(asyncio.gather(*waiting), 5)
        await asyncio.wait_for(history.wait_for_update(0.001), 5)  # returns without an update too

    asyncio.run(main())

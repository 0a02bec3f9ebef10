"""Work that never ends is given up, takes nobody's thread, and what it gives in the end is put away."""

import asyncio
import queue
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from tessella.server.apart import TaskSet, apart, given_up_after


def fail() -> int:
    raise LookupError("nothing there")


def ask(seconds: float | None, work: Callable[[], int]) -> int:
    async def wait() -> int:
        return await given_up_after(seconds, apart(work, print))

    return asyncio.run(wait())


def test_what_it_returns_and_raises_is_the_callers() -> None:
    assert ask(30, lambda: 5) == 5
    assert ask(None, lambda: 6) == 6
    with pytest.raises(LookupError, match="nothing there"):
        ask(30, fail)


def test_what_comes_late_is_put_away() -> None:
    gate, put_away = threading.Event(), queue.Queue[int]()

    def work() -> int:
        assert gate.wait(30)
        return 7

    async def give_up() -> None:
        await given_up_after(0.05, apart(work, put_away.put))

    with pytest.raises(TimeoutError, match=r"not there after 0\.05 s and was given up"):
        asyncio.run(give_up())
    assert put_away.empty()
    gate.set()
    assert put_away.get(timeout=30) == 7


@pytest.mark.parametrize(("seconds", "waits"), [(0.05, False), (None, True)])
def test_the_process_waits_for_what_it_had_not_given_up(seconds: float | None, waits: bool) -> None:
    """A thread that computes while the interpreter is taken down may crash it."""
    script = f"""
import asyncio, time
from tessella.server.apart import TaskSet, apart, given_up_after

async def main():
    work = apart(lambda: time.sleep(2) or print("loaded", flush=True), print)
    load = asyncio.create_task(given_up_after({seconds}, work))
    await asyncio.sleep(0.2)
    load.cancel()

asyncio.run(main())
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ("loaded" in told.stdout) == waits


def test_a_timeout_of_the_work_itself_is_told_as_it_is() -> None:
    def work() -> int:
        raise TimeoutError("the disk is slow")

    with pytest.raises(TimeoutError, match="the disk is slow"):
        ask(30, work)


def test_background_tasks_are_waited_for_and_cancelled() -> None:
    ended: list[str] = []

    async def work(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            name += " cancelled"
            raise
        finally:
            ended.append(name)

    async def run() -> None:
        tasks = TaskSet()
        short = tasks.start(work("short", 0.01))
        await tasks.join()
        assert short.done()
        assert ended == ["short"]
        tasks.start(work("long", 600))
        await asyncio.sleep(0)
        tasks.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks.join()

    asyncio.run(run())
    assert ended == ["short", "long cancelled"]

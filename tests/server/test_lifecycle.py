"""Dedicated threads, abandoned work, background tasks and frozen garbage collection."""

import asyncio
import gc
import queue
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from tessella.server.engine.engine import AsyncEngine
from tessella.server.lifecycle import TaskSet, abandon_after, run_in_thread

from ..support.live import Process, until


def fail() -> int:
    raise LookupError("nothing there")


def run(seconds: float | None, work: Callable[[], int]) -> int:
    async def wait() -> int:
        return await abandon_after(seconds, run_in_thread(work, print))

    return asyncio.run(wait())


def test_result_and_error_reach_the_caller() -> None:
    assert run(30, lambda: 5) == 5
    assert run(None, lambda: 6) == 6
    with pytest.raises(LookupError, match="nothing there"):
        run(30, fail)


def test_late_result_is_passed_to_its_callback() -> None:
    gate, late_results = threading.Event(), queue.Queue[int]()

    def work() -> int:
        assert gate.wait(30)
        return 7

    async def abandon() -> None:
        await abandon_after(0.05, run_in_thread(work, late_results.put))

    with pytest.raises(TimeoutError, match=r"not finished after 0\.05 s; load_timeout sets the limit"):
        asyncio.run(abandon())
    assert late_results.empty()
    gate.set()
    assert late_results.get(timeout=30) == 7


@pytest.mark.parametrize(("seconds", "waits"), [(0.05, False), (None, True)])
def test_process_waits_for_threads_that_are_not_abandoned(seconds: float | None, waits: bool) -> None:
    """A thread that computes while the interpreter shuts down may crash it."""
    script = f"""
import asyncio, time
from tessella.server.lifecycle import TaskSet, run_in_thread, abandon_after

async def main():
    work = run_in_thread(lambda: time.sleep(2) or print("loaded", flush=True), print)
    load = asyncio.create_task(abandon_after({seconds}, work))
    await asyncio.sleep(0.2)
    load.cancel()

asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ("loaded" in result.stdout) == waits


def test_timeout_error_of_the_work_is_not_replaced() -> None:
    def work() -> int:
        raise TimeoutError("the disk is slow")

    with pytest.raises(TimeoutError, match="the disk is slow"):
        run(30, work)


def test_background_tasks_are_joined_and_cancelled() -> None:
    ended: list[str] = []

    async def work(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            name += " cancelled"
            raise
        finally:
            ended.append(name)

    async def main() -> None:
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

    asyncio.run(main())
    assert ended == ["short", "long cancelled"]


_PRINT_FREEZE_COUNT = """
import atexit, gc, sys
atexit.register(lambda: print("frozen", gc.get_freeze_count(), file=sys.stderr, flush=True))
"""
MANY = 10_000


@pytest.mark.parametrize(("frontends", "processes"), [(0, 1), (1, 2)])
def test_every_serving_process_freezes_loaded_objects(tmp_path: Path, frontends: int, processes: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(_PRINT_FREEZE_COUNT)
    options = ("--frontends", str(frontends), "--device", "cpu", "--backend", "torch", "--model", "digits-vit")
    process = Process(*options, PYTHONPATH=str(tmp_path))
    try:
        process.ready()
    finally:
        process.stop()
    end = time.monotonic() + 10
    while (frozen := _frozen(process)).count(True) < processes and time.monotonic() < end:
        time.sleep(0.05)
    assert frozen.count(True) == processes, "".join(process.log)


def _frozen(process: Process) -> list[bool]:
    return [int(match[1]) > MANY for line in list(process.log) if (match := re.search(r"^frozen (\d+)", line))]


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_closed_engine_is_freed_without_garbage_collection(backend: str) -> None:
    pytest.importorskip(backend)

    async def load_and_close() -> list[weakref.ref[object]]:
        engine = await AsyncEngine.load("digits-vit", device="cpu", dtype="float32", backend=backend)
        gc.disable()
        runner = engine.instance._unwrapped  # type: ignore[attr-defined]
        references = [weakref.ref(one) for one in (engine, engine.instance, runner, runner._model)]
        await engine.close()
        return references

    try:
        references = asyncio.run(load_and_close())
        until(lambda: [reference() for reference in references] == [None] * 4)  # its thread may still be ending
    finally:
        gc.enable()


@pytest.mark.parametrize(("loading", "code"), [(True, 7), (False, 0)])
def test_exit_does_not_wait_for_a_load(loading: bool, code: int) -> None:
    script = f"""
import asyncio, threading
from tessella.server.lifecycle import exit_if_loading, run_in_thread

async def main():
    load = asyncio.create_task(run_in_thread({"threading.Event().wait" if loading else "int"}, print))
    await asyncio.sleep(0.2)
    load.cancel()

asyncio.run(main())
print("flushed")
exit_if_loading(7)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stdout) == (code, "flushed\n")

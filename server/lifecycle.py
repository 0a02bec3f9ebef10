"""Process lifecycle: work in dedicated threads that can be abandoned, background tasks, garbage collection, exit."""

import asyncio
import atexit
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
_running: set[threading.Thread] = set()
"""Dedicated threads that run and are not abandoned."""
_THREAD_EXIT_SECONDS = 30.0
_ABANDONED = "abandoned"
_log = logging.getLogger(__name__)


async def run_in_thread(work: Callable[[], T], on_late_result: Callable[[T], object]) -> T:
    """Result of `work`, run in a dedicated daemon thread. An abandoned one does not delay the exit of the process.

    Args:
        on_late_result: called in that thread with the result if the caller has been cancelled meanwhile.
    """
    future = Future[T]()

    def run() -> None:
        try:
            if future.set_running_or_notify_cancel():
                run_work()
        finally:
            _running.discard(thread)

    def run_work() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)  # runs on_late_result after a cancellation

    thread = threading.Thread(target=run, name="dedicated", daemon=True)
    _running.add(thread)
    thread.start()
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError as error:
        if error.args == (_ABANDONED,):
            _running.discard(thread)
        future.add_done_callback(lambda done: None if done.exception() else on_late_result(done.result()))
        raise


class TaskSet:
    """Background tasks of one owner, which keeps them alive: an event loop refers to its tasks only weakly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def join(self) -> None:
        """Wait for all tasks that run now. Raises the first error."""
        await asyncio.gather(*self._tasks)


async def abandon_after(seconds: float | None, work: Awaitable[T]) -> T:
    """Result of `work`, which is cancelled and abandoned after a timeout.

    Args:
        seconds: the timeout; None: no limit.

    Raises:
        TimeoutError: `work` did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return task.result()
    task.cancel(_ABANDONED)
    raise TimeoutError(f"not finished after {seconds:g} s; load_timeout sets the limit")


def force_exit_after(seconds: float) -> None:
    """Exit this process after a timeout, even if something still runs: a model call that hangs would keep it forever.

    Args:
        seconds: the timeout, to which the longest wait of `wait_for_threads` is added.
    """

    def force_exit() -> None:
        _log.error("forced exit: still running after %g s, for example a model call that hangs", seconds)
        os._exit(1)

    timer = threading.Timer(seconds + _THREAD_EXIT_SECONDS, force_exit)
    timer.daemon = True
    timer.start()


@atexit.register
def wait_for_threads() -> None:
    """Wait for dedicated threads, at most 30 s: a process that exits while a thread computes may crash.

    To be called before the interpreter shuts down, as modules imported in these threads (torch) register exit handlers.
    """
    deadline = time.monotonic() + _THREAD_EXIT_SECONDS
    for thread in list(_running):
        thread.join(max(0.0, deadline - time.monotonic()))


def exit_now(code: int) -> NoReturn:
    """Exit this process without its exit handlers and without waiting for threads."""
    with suppress(OSError, RuntimeError, ValueError):  # closed, or interrupted by the signal handler that calls this
        sys.stdout.flush()
    os._exit(code)


def exit_if_loading(code: int) -> None:
    """Exit at once if a dedicated thread still runs, such as a model load whose result nobody waits for any more."""
    if _running:
        exit_now(code)


def freeze_gc() -> None:
    """Collect garbage once, then exclude all live objects from later collections.

    A process that has imported torch holds some hundred thousand objects, and a full collection over them holds the
    interpreter's lock for 0.1 s and more, which delays every response. To be called once all models are loaded. A
    frozen object is still freed with its last reference, as an unloaded model is.
    """
    gc.collect()
    gc.freeze()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Result of a coroutine, run on uvloop if that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)

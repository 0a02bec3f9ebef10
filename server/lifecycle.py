"""Work that may take for ever, such as a load: in a thread of its own, which can be given up. Knows no model."""

import asyncio
import atexit
import gc
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_running: set[threading.Thread] = set()
"""Those that are under way and not given up."""
_AT_EXIT_SECONDS = 30.0
_GIVEN_UP = "given up"
_log = logging.getLogger(__name__)


async def run_in_thread(work: Callable[[], T], late: Callable[[T], object]) -> T:
    """What `work` returns or raises. It takes no thread from others; given up, it does not hold up the end.

    Args:
        late: is called, in that thread, with what it returns after the caller has been cancelled.
    """
    future = Future[T]()

    def run() -> None:
        try:
            if future.set_running_or_notify_cancel():
                fulfil()
        finally:
            _running.discard(thread)

    def fulfil() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)  # and puts it away if it comes late

    thread = threading.Thread(target=run, name="apart", daemon=True)
    _running.add(thread)
    thread.start()
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError as error:
        if error.args == (_GIVEN_UP,):
            _running.discard(thread)
        future.add_done_callback(lambda done: None if done.exception() else late(done.result()))
        raise


class TaskSet:
    """Background tasks of one owner, which keeps them alive: an event loop itself refers to its tasks only weakly."""

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
        """Wait for all tasks that run now; raises the first error."""
        await asyncio.gather(*self._tasks)


async def abandon_after(seconds: float | None, work: Awaitable[T]) -> T:
    """What `work` returns or raises.

    Raises:
        TimeoutError: it has not ended in time, and is cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return task.result()
    task.cancel(_GIVEN_UP)
    raise TimeoutError(f"it was not there after {seconds:g} s and was given up; see load_timeout")


def force_exit_after(seconds: float) -> None:
    """Ends this process in so many seconds and what `settle` may take, whatever still runs: a model call that never
    returns would keep it, and its device's memory, for ever.
    """

    def end() -> None:
        _log.error("did not end within %g s: something still runs, such as a model call that hangs", seconds)
        os._exit(1)

    timer = threading.Timer(seconds + _AT_EXIT_SECONDS, end)
    timer.daemon = True
    timer.start()


@atexit.register
def wait_for_threads() -> None:
    """Waits a while for what is under way: a process that ends under a thread which computes may crash.

    To be called before the interpreter begins to end: what is imported meanwhile (torch) has callbacks for that end.
    """
    end = time.monotonic() + _AT_EXIT_SECONDS
    for thread in list(_running):
        thread.join(max(0.0, end - time.monotonic()))


def freeze_gc() -> None:
    """Collects once; from then on full collections pass over everything that is here now.

    A process that has imported torch holds some hundred thousand objects. A full collection that looks at all of them
    holds the interpreter's lock for a tenth of a second and more, and every answer waits. To be called once all models
    are loaded. What is spared is still freed when its last reference goes, as a model's is when it is unloaded.
    """
    gc.collect()
    gc.freeze()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)

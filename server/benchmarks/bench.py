"""The process that has the models runs their benchmarks: one at a time, each measured in a thread."""

import asyncio
import threading
from collections.abc import Callable, Sequence

from ..apart import TaskSet
from ..errors import Overloaded
from ..worker import Worker
from .measure import Measurement
from .schemas import Run

_LOOKS, _LOOK_SECONDS = 5, 0.02


class Bench:
    """Belongs to one event loop.

    Args:
        report: called in it with every change of a run.
    """

    def __init__(self, report: Callable[[Run], None]) -> None:
        self._report = report
        self._cancelled: dict[str, threading.Event] = {}
        self._tasks = TaskSet()

    async def start(self, worker: Worker, source: str, run: Run, neighbours: Sequence[Worker]) -> None:
        """Begins to measure.

        Args:
            source: the checkpoint of the worker's model.
            neighbours: all workers on the same device.

        Raises:
            Overloaded: one of them has work, and the run is not to be forced.
        """
        cancelled = self._cancelled[run.id] = threading.Event()
        if not run.request.force and await under_load(neighbours):
            del self._cancelled[run.id]
            raise Overloaded("the service is answering requests; measure when it is idle, or with 'force': true")
        loop = asyncio.get_running_loop()

        def report(news: Run) -> None:
            loop.call_soon_threadsafe(self._report, news)

        measurement = Measurement(worker, source, run, report, cancelled)
        task = self._tasks.start(asyncio.to_thread(measurement.run))
        task.add_done_callback(lambda _: self._cancelled.pop(run.id, None))

    def cancel(self, id: str) -> None:
        """The run ends after the model call that it waits for; one that has ended stays as it is."""
        if id in self._cancelled:
            self._cancelled[id].set()

    async def close(self) -> None:
        """Cancels what runs, and waits for its end."""
        for cancelled in self._cancelled.values():
            cancelled.set()
        await self._tasks.join()


async def under_load(workers: Sequence[Worker]) -> bool:
    """Whether images wait or run: looked at a few times, as a light load leaves gaps."""
    for _ in range(_LOOKS):
        if any(worker.waiting or worker.busy_since is not None for worker in workers):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False

"""The benchmarks of one service: the last ones, of which at most one runs. Belongs to one event loop."""

import asyncio
from contextlib import suppress

from ..errors import BenchmarkNotFound, BenchmarkRunning
from .schemas import Run


class History:
    """Runs by id.

    Args:
        most: runs that are kept; the oldest are forgotten.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._runs: dict[str, Run] = {}
        self._changed = asyncio.Event()

    @property
    def runs(self) -> list[Run]:
        """Newest first."""
        return list(reversed(self._runs.values()))

    @property
    def current(self) -> Run | None:
        """The one that has not ended."""
        return next((run for run in self._runs.values() if not run.ended), None)

    def get(self, id: str) -> Run:
        """
        Raises:
            BenchmarkNotFound: there is none, or it is forgotten.
        """
        if id not in self._runs:
            raise BenchmarkNotFound(f"no benchmark {id!r}; the last {self._most} are kept until the service ends")
        return self._runs[id]

    def open(self, run: Run) -> None:
        """Takes a new run.

        Raises:
            BenchmarkRunning: another one has not ended.
        """
        if current := self.current:
            raise BenchmarkRunning(f"benchmark {current.id} of {current.model} is running; cancel it, or wait")
        self.put(run)

    def put(self, run: Run) -> None:
        """A new run, or news of one."""
        self._runs[run.id] = run
        while len(self._runs) > self._most:
            del self._runs[next(iter(self._runs))]
        self._wake()

    def forget(self, id: str) -> None:
        """One that was refused after all."""
        self._runs.pop(id, None)
        self._wake()

    async def changed(self, seconds: float) -> None:
        """Until there is news of any run, but not longer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

"""Benchmark history of one service: the last runs, of which at most one is running. Belongs to one event loop."""

import asyncio
from contextlib import suppress

from ..errors import BenchmarkNotFound, BenchmarkRunning
from .schemas import Run


class History:
    """Benchmark runs by id.

    Args:
        max_runs: number of runs that are kept; older ones are dropped.
    """

    def __init__(self, max_runs: int = 32) -> None:
        self._max_runs = max_runs
        self._runs: dict[str, Run] = {}
        self._updated = asyncio.Event()

    @property
    def runs(self) -> list[Run]:
        """All runs, newest first."""
        return list(reversed(self._runs.values()))

    @property
    def current(self) -> Run | None:
        """Run that has not ended; None if there is none."""
        return next((run for run in self._runs.values() if not run.ended), None)

    def get(self, id: str) -> Run:
        """Run of an id.

        Raises:
            BenchmarkNotFound: there is no such run, or it was dropped.
        """
        if id not in self._runs:
            raise BenchmarkNotFound(f"no benchmark {id!r}; the last {self._max_runs} are kept until the service stops")
        return self._runs[id]

    def add(self, run: Run) -> None:
        """Add a new run.

        Raises:
            BenchmarkRunning: another run has not ended.
        """
        if current := self.current:
            raise BenchmarkRunning(f"benchmark {current.id} of {current.model} is running; cancel it or wait")
        self.update(run)

    def update(self, run: Run) -> None:
        """Replace a run by its new state, or add it if it is unknown."""
        self._runs[run.id] = run
        while len(self._runs) > self._max_runs:
            del self._runs[next(iter(self._runs))]
        self._notify()

    def remove(self, id: str) -> None:
        """Remove a run that was rejected, if it is there."""
        self._runs.pop(id, None)
        self._notify()

    async def wait_for_update(self, timeout: float) -> None:
        """Wait until any run changes, at most `timeout` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._updated.wait(), timeout)

    def _notify(self) -> None:
        self._updated.set()
        self._updated = asyncio.Event()

"""Benchmarks seen from the routes: started, cancelled and looked up, wherever the models run."""

from typing import Protocol

from ..errors import NotReady
from ..repository import ModelRepository
from ..worker import Worker
from .bench import Bench
from .book import Book
from .schemas import Run


class Benchmarks(Protocol):
    """`book`: what is known in this process."""

    book: Book

    async def start(self, run: Run, source: str) -> Run:
        """Begins, as far as the answer can tell.

        Args:
            source: where the run's model was loaded from.

        Raises:
            BenchmarkRunning: another one has not ended.
            Overloaded: the service is answering requests.
            NotReady: the model's process is being restarted.
        """
        ...

    def cancel(self, id: str) -> None:
        """Asks a run to end; one that has ended stays as it is."""
        ...

    async def close(self) -> None:
        """Ends what runs here."""
        ...


class LocalBenchmarks:
    """Of models in this process."""

    def __init__(self, repository: ModelRepository) -> None:
        self.book = Book()
        self._repository = repository
        self._bench = Bench(self.book.put)

    async def start(self, run: Run, source: str) -> Run:
        """As Benchmarks."""
        ports = {str(model.spec): model.engine.port for model in self._repository.versions if model.engine}
        workers = {name: port for name, port in ports.items() if isinstance(port, Worker)}
        if run.served not in workers:
            raise NotReady(f"model {run.served!r} does not run in this process")
        self.book.open(run)
        try:
            await self._bench.start(workers[run.served], source, run, list(workers.values()))
        except Exception:
            self.book.forget(run.id)
            raise
        return self.book.get(run.id)

    def cancel(self, id: str) -> None:
        self._bench.cancel(id)

    async def close(self) -> None:
        await self._bench.close()

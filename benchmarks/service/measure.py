"""`tessella bench service`: the service beside its peers and a bare loop. Right answers first, then loads in turns."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ... import __version__
from ...kernels.versions import installed_version
from ..photos import Photo, make_photos, read_photos
from ..report import circumstances
from . import scenarios
from .bare_loop import load_bare
from .contestants import Bare, Contestant, Served, check, run
from .load_generator import Load
from .plan import OPEN_SHARE, Plan
from .random_checkpoint import save_random_checkpoint
from .servers import Server, ServerSettings, all_ready, start_peer, start_tessella
from .summary import Cell, ratios, summarise_rounds

Progress = Callable[[str, float], object]
Bear = Callable[[float, int], Load]
"""Puts a load on one contestant: for so many seconds, in this round."""


def measure(plan: Plan, progress: Progress = lambda text, part: None) -> dict[str, Any]:
    """Starts the servers, checks that they answer alike, loads them in turns, and ends them.

    Args:
        progress: is told what comes next, and the part of the work that is done, 0 to 1.

    Returns:
        A JSON document: circumstances, parameters, servers, rows, ratios and scenarios.

    Raises:
        WrongAnswers: servers do not answer alike.
        ServerError: one does not start.
        ValueError: an unknown architecture, or no photographs.
    """
    progress("making photographs", 0)
    albums = {plan.images.name: read_photos(plan.images)} if plan.images else {s: make_photos(s) for s in plan.sizes}
    with tempfile.TemporaryDirectory(prefix="tessella-bench-") as name, _own_cache(Path(name) / "cache"):
        bench = _Bench(plan, albums, Path(name), progress)
        bench.run()
        return {
            "benchmark": "service",
            **circumstances(plan.device),
            "parameters": asdict(plan) | {"images": plan.images and str(plan.images)},
            "servers": bench.servers,
            "photos": {size: _describe(photos) for size, photos in albums.items()},
            "rows": bench.rows,
            "ratios": [ratio for cell in bench.cells for ratio in ratios(cell)],
            "scenarios": bench.scenarios,
        }


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """What servers and the bare loop keep of a checkpoint that nobody will see again is kept in this folder."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


def _describe(photos: Sequence[Photo]) -> dict[str, float]:
    return {"count": len(photos), "mean_bytes": sum(len(photo.data) for photo in photos) / len(photos)}


class _Bench:
    """One run: what it has made, started and found so far."""

    def __init__(self, plan: Plan, albums: dict[str, list[Photo]], folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._albums = albums
        self._folder = folder
        self._tell = progress
        self._settings = ServerSettings(
            model=folder / "model",
            max_batch_size=plan.max_batch_size,
            device=plan.device,
            dtype=plan.dtype,
            backend=plan.backend,
        )
        self._options = ("--backend", plan.backend, *plan.serve_options)
        self._expected: dict[str, int] = {}
        loads = ("closed" in plan.modes) * len(plan.clients) + ("open" in plan.modes) * max(1, len(plan.rates))
        self._steps = loads * len(albums) + len({"overload", "kill"} & set(plan.modes))
        self._done = 0.0
        self.servers: dict[str, str] = {}
        self.cells: list[Cell] = []
        self.scenarios: dict[str, Any] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for cell in self.cells for row in cell.values()]

    def run(self) -> None:
        with self._contestants() as contestants:
            self._progress("comparing answers")
            photos = [photo for album in self._albums.values() for photo in album]
            self._expected = check(contestants, photos, self._plan.dtype)
            for size, album in self._albums.items():
                self._measure_size(contestants, size, album)
        album = next(iter(self._albums.values()))
        for name in ("overload", "kill"):
            if name in self._plan.modes:
                self.scenarios[name] = self._scenario(name, album)

    @contextmanager
    def _contestants(self) -> Iterator[list[Contestant]]:
        """All that take part, ready; those that cannot be started here are named in `servers`."""
        plan = self._plan
        if plan.url:
            self.servers["service"] = plan.url
            yield [Served("service", plan.url)]
            return
        self._progress(f"{plan.architecture}: making weights, starting servers")
        photos = next(iter(self._albums.values()))
        save_random_checkpoint(plan.architecture, self._settings.model, photos, **plan.network_options)
        servers = self._start() if {"closed", "open"} & set(plan.modes) else []
        with all_ready(servers):
            backend = servers[0].backend() if servers else plan.backend
            self.servers = {"bare loop": f"{backend}, no HTTP", "tessella": f"{__version__}, {backend}"} | self.servers
            bare = load_bare(self._settings, backend)
            yield [Bare(bare), *(Served(server.name, server.url, server) for server in servers)]

    def _start(self) -> list[Server]:
        plan = self._plan
        started = [start_tessella(self._settings, self._folder / "tessella.log", *self._options)]
        for peer in plan.peers:
            installed = installed_version(peer)
            extra = "ray" if peer == "ray" else "bench"
            self.servers[peer] = installed or f"not installed: pip install 'tessella[{extra}]'"
            if installed:
                started.append(start_peer(peer, self._settings, self._folder / f"{peer}.log"))
        return started

    def _measure_size(self, contestants: Sequence[Contestant], size: str, photos: list[Photo]) -> None:
        plan, expected = self._plan, self._expected
        closed: Cell = {}
        for clients in plan.clients if "closed" in plan.modes else ():
            turns = {c.name: (c, partial(_closed, c, photos, expected, clients)) for c in contestants}
            closed = self._measure_cell({"mode": "closed", "size": size, "load": clients}, turns)
        served = [contestant for contestant in contestants if isinstance(contestant, Served)]
        for rate in (plan.rates or (_rate(closed),)) if "open" in plan.modes else ():
            turns = {s.name: (s, partial(_open, s, photos, expected, rate)) for s in served}
            self._measure_cell({"mode": "open", "size": size, "load": rate}, turns)

    def _measure_cell(self, heading: dict[str, Any], turns: Mapping[str, tuple[Contestant, Bear]]) -> Cell:
        """Each a slice of every round, each round beginning with another; a quarter of a slice is warm-up."""
        rounds, names = self._plan.rounds, list(turns)
        seconds = self._plan.seconds / rounds / len(names)
        loads: dict[str, list[Load]] = {name: [] for name in names}
        for contestant, _ in turns.values():
            contestant.suspend()
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                self._progress(f"{_title(heading)}, round {turn + 1} of {rounds}: {name}")
                contestant, bear = turns[name]
                contestant.resume()
                bear(min(1.0, seconds / 4), turn)
                loads[name].append(bear(max(seconds * 3 / 4, seconds - 1), turn))
                contestant.suspend()
                self._done += 1 / rounds / len(names)
        for contestant, _ in turns.values():
            contestant.resume()
        cell = {name: {**heading, "server": name, **summarise_rounds(loads[name])} for name in names}
        self.cells.append(cell)
        return cell

    def _scenario(self, name: str, photos: list[Photo]) -> dict[str, Any]:
        act, share = {"overload": (scenarios.overload, 0.5), "kill": (scenarios.kill, 0.1)}[name]
        found = act(
            self._settings,
            photos,
            self._expected,
            log=self._folder / f"{name}.log",
            seconds=share * self._plan.seconds,
            options=self._options,
            run=run,
            progress=self._progress,
        )
        self._done += 1
        return found

    def _progress(self, text: str) -> None:
        self._tell(text, min(1.0, self._done / self._steps))


def _closed(
    contestant: Contestant, photos: list[Photo], expected: Mapping[str, int], clients: int, seconds: float, _: int
) -> Load:
    return contestant.closed(photos, expected, clients, seconds)


def _open(
    served: Served, photos: list[Photo], expected: Mapping[str, int], rate: float, seconds: float, turn: int
) -> Load:
    return served.open(photos, expected, rate, seconds, seed=turn)


def _rate(closed: Cell) -> float:
    slowest = min(row["throughput"] for name, row in closed.items() if name != Bare.name)
    return max(0.1, round(OPEN_SHARE * slowest, 1))


def _title(heading: Mapping[str, Any]) -> str:
    unit = "clients" if heading["mode"] == "closed" else "requests/s"
    return f"{heading['size']}, {heading['load']:g} {unit}"

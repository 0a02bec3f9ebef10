"""Service benchmark (`tessella bench service`): tessella, peers and a bare loop; checked, then loaded in turns."""

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
from ..report import environment
from . import scenarios
from .bare_loop import load_bare
from .load_generator import Load
from .plan import DEFAULT_LOAD_FRACTION, Plan
from .random_checkpoint import save_random_checkpoint
from .servers import Server, ServerSettings, all_ready, start_peer, start_tessella
from .summary import Cell, ratios, summarise_rounds
from .targets import HttpTarget, InProcessTarget, Target, check, run

Progress = Callable[[str, float], object]
ApplyLoad = Callable[[float, int], Load]
"""Loads one target for a number of seconds, in the round with this index."""


def measure(plan: Plan, progress: Progress = lambda text, part: None) -> dict[str, Any]:
    """Start the servers, check that they predict the same, load them in turns, and stop them.

    Args:
        progress: called before each step with its description and the completed fraction of the run, 0 to 1.

    Returns:
        A JSON document: environment, parameters, servers, rows, ratios and scenarios.

    Raises:
        PredictionMismatch: predictions of the servers differ.
        ServerError: a server does not start.
        ValueError: unknown architecture, or no photographs.
    """
    progress("preparing photographs", 0)
    photos = {plan.images.name: read_photos(plan.images)} if plan.images else {s: make_photos(s) for s in plan.sizes}
    with tempfile.TemporaryDirectory(prefix="tessella-bench-") as name, _temporary_cache(Path(name) / "cache"):
        bench = _Bench(plan, photos, Path(name), progress)
        bench.run()
        return {
            "benchmark": "service",
            **environment(plan.device),
            "parameters": asdict(plan) | {"images": plan.images and str(plan.images)},
            "servers": bench.servers,
            "photos": {size: _describe(files) for size, files in photos.items()},
            "rows": bench.rows,
            "ratios": [ratio for cell in bench.cells for ratio in ratios(cell)],
            "scenarios": bench.scenarios,
        }


@contextmanager
def _temporary_cache(folder: Path) -> Iterator[None]:
    """Context manager: cache folder for this run only, since its checkpoint is temporary."""
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
    """State and results of one run. `photos`: by size."""

    def __init__(self, plan: Plan, photos: dict[str, list[Photo]], folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._photos = photos
        self._folder = folder
        self._on_progress = progress
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
        self._steps = loads * len(photos) + len({"overload", "kill"} & set(plan.modes))
        self._completed = 0.0
        self.servers: dict[str, str] = {}
        self.cells: list[Cell] = []
        self.scenarios: dict[str, Any] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for cell in self.cells for row in cell.values()]

    def run(self) -> None:
        with self._targets() as targets:
            self._progress("comparing predictions")
            every_photo = [photo for photos in self._photos.values() for photo in photos]
            self._expected = check(targets, every_photo, self._plan.dtype)
            for size, photos in self._photos.items():
                self._measure_size(targets, size, photos)
        photos = next(iter(self._photos.values()))
        for name in ("overload", "kill"):
            if name in self._plan.modes:
                self.scenarios[name] = self._run_scenario(name, photos)

    @contextmanager
    def _targets(self) -> Iterator[list[Target]]:
        """Context manager: all targets, ready; `servers` also names the peers that are not installed."""
        plan = self._plan
        if plan.url:
            self.servers["service"] = plan.url
            yield [HttpTarget("service", plan.url)]
            return
        self._progress(f"{plan.architecture}: initialising weights, starting servers")
        photos = next(iter(self._photos.values()))
        save_random_checkpoint(plan.architecture, self._settings.model, photos, **plan.network_options)
        servers = self._start() if {"closed", "open"} & set(plan.modes) else []
        with all_ready(servers):
            backend = servers[0].backend() if servers else plan.backend
            self.servers = {"bare loop": f"{backend}, no HTTP", "tessella": f"{__version__}, {backend}"} | self.servers
            bare = load_bare(self._settings, backend)
            yield [InProcessTarget(bare), *(HttpTarget(server.name, server.url, server) for server in servers)]

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

    def _measure_size(self, targets: Sequence[Target], size: str, photos: list[Photo]) -> None:
        plan, expected = self._plan, self._expected
        closed: Cell = {}
        for clients in plan.clients if "closed" in plan.modes else ():
            loads = {target.name: (target, partial(_closed, target, photos, expected, clients)) for target in targets}
            closed = self._measure_cell({"mode": "closed", "size": size, "load": clients}, loads)
        servers = [target for target in targets if isinstance(target, HttpTarget)]
        for rate in (plan.rates or (_default_rate(closed),)) if "open" in plan.modes else ():
            loads = {server.name: (server, partial(_open, server, photos, expected, rate)) for server in servers}
            self._measure_cell({"mode": "open", "size": size, "load": rate}, loads)

    def _measure_cell(self, heading: dict[str, Any], targets: Mapping[str, tuple[Target, ApplyLoad]]) -> Cell:
        """Load every target once per round, each round starting with another; a quarter of each slice is warm-up."""
        rounds, names = self._plan.rounds, list(targets)
        seconds = self._plan.seconds / rounds / len(names)
        loads: dict[str, list[Load]] = {name: [] for name in names}
        for target, _ in targets.values():
            target.suspend()
        for index in range(rounds):
            for name in names[index % len(names) :] + names[: index % len(names)]:
                self._progress(f"{_title(heading)}, round {index + 1} of {rounds}: {name}")
                target, apply_load = targets[name]
                target.resume()
                apply_load(min(1.0, seconds / 4), index)
                loads[name].append(apply_load(max(seconds * 3 / 4, seconds - 1), index))
                target.suspend()
                self._completed += 1 / rounds / len(names)
        for target, _ in targets.values():
            target.resume()
        cell = {name: {**heading, "server": name, **summarise_rounds(loads[name])} for name in names}
        self.cells.append(cell)
        return cell

    def _run_scenario(self, name: str, photos: list[Photo]) -> dict[str, Any]:
        scenario, share = {"overload": (scenarios.overload, 0.5), "kill": (scenarios.kill, 0.1)}[name]
        result = scenario(
            self._settings,
            photos,
            self._expected,
            log=self._folder / f"{name}.log",
            seconds=share * self._plan.seconds,
            options=self._options,
            run=run,
            progress=self._progress,
        )
        self._completed += 1
        return result

    def _progress(self, text: str) -> None:
        self._on_progress(text, min(1.0, self._completed / self._steps))


def _closed(
    target: Target, photos: list[Photo], expected: Mapping[str, int], clients: int, seconds: float, _: int
) -> Load:
    return target.closed(photos, expected, clients, seconds)


def _open(
    server: HttpTarget, photos: list[Photo], expected: Mapping[str, int], rate: float, seconds: float, index: int
) -> Load:
    return server.open(photos, expected, rate, seconds, seed=index)


def _default_rate(closed: Cell) -> float:
    slowest = min(row["throughput"] for name, row in closed.items() if name != InProcessTarget.name)
    return max(0.1, round(DEFAULT_LOAD_FRACTION * slowest, 1))


def _title(heading: Mapping[str, Any]) -> str:
    unit = "clients" if heading["mode"] == "closed" else "requests/s"
    return f"{heading['size']}, {heading['load']:g} {unit}"

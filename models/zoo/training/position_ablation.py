"""Position ablation: `python -m tessella.models.zoo.training.position_ablation` trains networks without embeddings.

The position ablations of the two papers in small. Every arm sees the same pictures in the same order, under each seed.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ...config import Position, TNTConfig, ViTConfig
from ...networks.tnt import TNT
from ...networks.vit import ViT
from ...visualization.figure import check_suffix
from .augment import Augmentation, augment
from .dataset import Digits, load_split
from .evaluate import accuracy, predict
from .position_similarity import draw, similarities
from .recipe import RECIPES, Recipe
from .record import dumps
from .train import Material, Start, train


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One row. `start`: what its learned tables hold before training."""

    network: str
    positions: str
    recipe: Recipe
    start: Start = "small"

    @property
    def name(self) -> str:
        return f"{self.network}, {self.positions}"


_VIT: tuple[tuple[str, Position, Start], ...] = (
    ("none", "none", "small"),
    ("learned, 1-D", "learned", "small"),
    ("learned, 2-D: row and column", "factorised", "small"),
    ("fixed 2-D sin-cos", "sincos", "small"),
    ("learned, from 2-D sin-cos (as shipped)", "learned", "sincos"),
)
_TNT: tuple[tuple[str, bool, bool, Start], ...] = (
    ("none", False, False, "small"),
    ("outer", True, False, "small"),
    ("inner", False, True, "small"),
    ("outer and inner", True, True, "small"),
    ("outer and inner, from 2-D sin-cos (as shipped)", True, True, "sincos"),
)


MILD = Augmentation(
    plain=0.25,
    inverted=0.0,
    strokes=0.5,
    photographs=0.0,
    height=(0.6, 0.95),
    rotation=10.0,
    shear=0.2,
    aspect=0.2,
    bend=0.02,
)
"""Light ink on a dark screen, neither photographed nor inverted: what a short training can learn."""


def arms(*, steps: int, batch: int) -> Iterator[Arm]:
    """Every row, the shipped recipes reduced to `steps` of `batch` mildly augmented pictures."""
    vit, tnt = (
        replace(RECIPES[name], steps=steps, batch=batch, average=0.99, augmentation=MILD)
        for name in ("digits-vit", "digits-tnt")
    )
    for text, position, start in _VIT:
        config = replace(cast(ViTConfig, vit.config), position=position)
        yield Arm(network="ViT", positions=text, recipe=replace(vit, config=config), start=start)
    for text, outer, inner, start in _TNT:
        switched = replace(cast(TNTConfig, tnt.config), outer_position=outer, inner_position=inner)
        yield Arm(network="TNT", positions=text, recipe=replace(tnt, config=switched), start=start)


FILE = Path(__file__).parent / "position_ablation.json"
REDRAWN = 8  # times, each test digit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One arm under one seed. `test`, `redrawn`: shares of right answers among the test digits, as they are and moved,
    turned and inked again as in training."""

    seed: int
    test: float
    redrawn: float
    cpu_seconds: int


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.plot:
        check_suffix(options.plot)
    torch.set_num_threads(options.threads)
    rows, split, console = list(arms(steps=options.steps, batch=options.batch)), load_split(), Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        document = measure(rows, options.seeds, (split.train, split.test), options.output, progress)
    console.print(render(document), markup=False, highlight=False, soft_wrap=True)
    if options.plot:
        draw(document["similarity"], options.plot)


def measure(
    rows: Sequence[Arm], seeds: int, data: tuple[Digits, Digits], file: Path, progress: Progress
) -> dict[str, Any]:
    """Trains every arm from every seed and writes the document anew after each: a run that is cut leaves some.

    Args:
        data: to train on, and to be examined on.
    """
    recipe = rows[0].recipe
    material, exam = (Material.of(digits, recipe.preprocessing) for digits in data)
    task = progress.add_task("", total=len(rows) * seeds * recipe.steps, loss="")
    outcomes: dict[str, list[Outcome]] = {arm.name: [] for arm in rows}
    maps: dict[str, Any] = {}
    document: dict[str, Any] = {}

    def report(step: int, loss: float) -> None:
        progress.update(task, advance=1, loss=f"loss {loss:.2f}")

    for seed in range(seeds):
        for arm in rows:
            progress.update(task, description=f"seed {seed}: {arm.name}")
            started = time.process_time()
            network = train(arm.recipe, material, seed, report, positions=arm.start)
            seconds = round(time.process_time() - started)
            outcomes[arm.name].append(Outcome(seed=seed, cpu_seconds=seconds, **_sit(network, exam, recipe)))
            maps.setdefault(arm.name, similarities(network))
            document = record(rows, outcomes, maps)
            file.write_text(dumps(document))
    return document


def record(rows: Sequence[Arm], outcomes: dict[str, list[Outcome]], maps: dict[str, Any]) -> dict[str, Any]:
    """The document: every seed's shares, their mean and deviation, and seed 0's similarity maps."""
    recipe, shipped = rows[0].recipe, RECIPES["digits-vit"]
    return {
        "recipe": {
            "steps": recipe.steps,
            "batch": recipe.batch,
            "average": recipe.average,
            "augmentation": asdict(recipe.augmentation),
            "shipped": {
                "steps": {name: one.steps for name, one in RECIPES.items()},
                "batch": shipped.batch,
                "average": shipped.average,
            },
        },
        "arms": [_summary(arm, outcomes[arm.name]) for arm in rows if outcomes[arm.name]],
        "seeds": [{"arm": name, **asdict(outcome)} for name, some in outcomes.items() for outcome in some],
        "similarity": {f"{name}: {table}": places for name, tables in maps.items() for table, places in tables.items()},
    }


def render(document: dict[str, Any]) -> str:
    """The table in Markdown: mean ± standard deviation over the seeds, in percent."""
    lines = ["| network | positions | test digits | redrawn |", "|---|---|---|---|"]
    for arm in document["arms"]:
        cells = (
            f"{100 * arm[name]['mean']:.1f} ± {100 * arm[name]['deviation']:.1f} %" for name in ("test", "redrawn")
        )
        lines.append(f"| {arm['network']} | {arm['positions']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sit(network: ViT | TNT, exam: Material, recipe: Recipe) -> dict[str, float]:
    shares = {}
    plain = exam.plain[..., None].expand(-1, -1, -1, 3).contiguous()
    rows = torch.arange(len(exam.labels)).repeat(REDRAWN)
    generator = torch.Generator().manual_seed(0)
    redrawn = augment(exam.plain, exam.ink, rows, recipe.preprocessing.size, recipe.augmentation, generator)
    sets: dict[str, tuple[Tensor, Tensor]] = {"test": (plain, exam.labels), "redrawn": (redrawn, exam.labels[rows])}
    for name, (images, labels) in sets.items():
        shares[name] = round(accuracy(predict(network, images, recipe.preprocessing), labels.numpy()), 5)
    return shares


def _summary(arm: Arm, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    shares = {name: [getattr(outcome, name) for outcome in outcomes] for name in ("test", "redrawn")}
    spread = {
        name: {"mean": round(mean(some), 5), "deviation": round(stdev(some) if len(some) > 1 else 0.0, 5)}
        for name, some in shares.items()
    }
    return {"network": arm.network, "positions": arm.positions, "start": arm.start, **spread}


def _parser() -> argparse.ArgumentParser:
    program = "python -m tessella.models.zoo.training.position_ablation"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--steps", type=int, default=600, help="of training, per network and seed")
    parser.add_argument("--batch", type=int, default=32, help="pictures per step")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--plot", type=Path, help="draws the similarity maps: .png, .svg or .pdf")
    parser.add_argument("--output", type=Path, default=FILE, help="the document; by default beside this module")
    return parser


if __name__ == "__main__":
    main()

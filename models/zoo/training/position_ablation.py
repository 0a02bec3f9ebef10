"""Position ablation: `python -m tessella.models.zoo.training.position_ablation` trains one network per embedding.

Small-scale repetition of the position ablations of the two papers. Under each seed, all variants see the same images in
the same order.
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
from .train import Start, TrainingSet, train

FILE = Path(__file__).parent / "position_ablation.json"
REDRAWS = 8
"""Augmented images of each test digit."""
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
"""Augmentation for a short training: light ink on a dark screen, neither photographed nor inverted."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Variant of a network, one row of the table. `start`: initial values of its learned position tables."""

    network: str
    positions: str
    recipe: Recipe
    start: Start = "small"

    @property
    def name(self) -> str:
        """Network and positions."""
        return f"{self.network}, {self.positions}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of one variant under one seed: accuracies on the test digits as they are (`test`) and augmented
    (`redrawn`)."""

    seed: int
    test: float
    redrawn: float
    cpu_seconds: int


def variants(*, steps: int, batch: int) -> Iterator[Variant]:
    """All variants: the shipped recipes reduced to `steps` of `batch` mildly augmented images."""
    vit, tnt = (
        replace(RECIPES[name], steps=steps, batch=batch, average=0.99, augmentation=MILD)
        for name in ("digits-vit", "digits-tnt")
    )
    for text, position, start in _VIT:
        config = replace(cast(ViTConfig, vit.config), position=position)
        yield Variant(network="ViT", positions=text, recipe=replace(vit, config=config), start=start)
    for text, outer, inner, start in _TNT:
        switched = replace(cast(TNTConfig, tnt.config), outer_position=outer, inner_position=inner)
        yield Variant(network="TNT", positions=text, recipe=replace(tnt, config=switched), start=start)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.plot:
        check_suffix(options.plot)
    torch.set_num_threads(options.threads)
    rows, split, console = list(variants(steps=options.steps, batch=options.batch)), load_split(), Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        document = measure(rows, options.seeds, (split.train, split.test), options.output, progress)
    console.print(render(document), markup=False, highlight=False, soft_wrap=True)
    if options.plot:
        draw(document["similarity"], options.plot)


def measure(
    rows: Sequence[Variant], seeds: int, data: tuple[Digits, Digits], file: Path, progress: Progress
) -> dict[str, Any]:
    """Train every variant from every seed; the document is written after each, so that an aborted run keeps results.

    Args:
        data: training and test digits.
    """
    recipe = rows[0].recipe
    training_set, test_set = (TrainingSet.of(digits, recipe.preprocessing) for digits in data)
    task = progress.add_task("", total=len(rows) * seeds * recipe.steps, loss="")
    outcomes: dict[str, list[Outcome]] = {variant.name: [] for variant in rows}
    maps: dict[str, Any] = {}
    document: dict[str, Any] = {}

    def report(step: int, loss: float) -> None:
        progress.update(task, advance=1, loss=f"loss {loss:.2f}")

    for seed in range(seeds):
        for variant in rows:
            progress.update(task, description=f"seed {seed}: {variant.name}")
            started = time.process_time()
            network = train(variant.recipe, training_set, seed, report, positions=variant.start)
            seconds = round(time.process_time() - started)
            outcomes[variant.name].append(
                Outcome(seed=seed, cpu_seconds=seconds, **_evaluate(network, test_set, recipe))
            )
            maps.setdefault(variant.name, similarities(network))
            document = record(rows, outcomes, maps)
            file.write_text(dumps(document))
    return document


def record(rows: Sequence[Variant], outcomes: dict[str, list[Outcome]], maps: dict[str, Any]) -> dict[str, Any]:
    """JSON document: accuracies of every seed, their mean and deviation, and seed 0's similarity maps."""
    recipe, shipped = rows[0].recipe, RECIPES["digits-vit"]
    return {
        "recipe": {
            "steps": recipe.steps,
            "batch": recipe.batch,
            "average": recipe.average,
            "augmentation": asdict(recipe.augmentation),
            "shipped": {
                "steps": {name: recipe.steps for name, recipe in RECIPES.items()},
                "batch": shipped.batch,
                "average": shipped.average,
            },
        },
        "variants": [_summary(variant, outcomes[variant.name]) for variant in rows if outcomes[variant.name]],
        "seeds": [{"variant": name, **asdict(outcome)} for name, seeds in outcomes.items() for outcome in seeds],
        "similarity": {
            f"{name}: {table}": similarity for name, tables in maps.items() for table, similarity in tables.items()
        },
    }


def render(document: dict[str, Any]) -> str:
    """Markdown table: mean ± standard deviation of the accuracies over the seeds, in percent."""
    lines = ["| network | positions | test digits | redrawn |", "|---|---|---|---|"]
    for variant in document["variants"]:
        cells = (
            f"{100 * variant[name]['mean']:.1f} ± {100 * variant[name]['deviation']:.1f} %"
            for name in ("test", "redrawn")
        )
        lines.append(f"| {variant['network']} | {variant['positions']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _evaluate(network: ViT | TNT, test_set: TrainingSet, recipe: Recipe) -> dict[str, float]:
    shares = {}
    plain = test_set.plain[..., None].expand(-1, -1, -1, 3).contiguous()
    rows = torch.arange(len(test_set.labels)).repeat(REDRAWS)
    generator = torch.Generator().manual_seed(0)
    redrawn = augment(test_set.plain, test_set.ink, rows, recipe.preprocessing.size, recipe.augmentation, generator)
    sets: dict[str, tuple[Tensor, Tensor]] = {
        "test": (plain, test_set.labels),
        "redrawn": (redrawn, test_set.labels[rows]),
    }
    for name, (images, labels) in sets.items():
        shares[name] = round(accuracy(predict(network, images, recipe.preprocessing), labels.numpy()), 5)
    return shares


def _summary(variant: Variant, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    accuracies = {name: [getattr(outcome, name) for outcome in outcomes] for name in ("test", "redrawn")}
    spread = {
        name: {"mean": round(mean(values), 5), "deviation": round(stdev(values) if len(values) > 1 else 0.0, 5)}
        for name, values in accuracies.items()
    }
    return {"network": variant.network, "positions": variant.positions, "start": variant.start, **spread}


def _parser() -> argparse.ArgumentParser:
    program = "python -m tessella.models.zoo.training.position_ablation"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--steps", type=int, default=600, help="training steps per network and seed")
    parser.add_argument("--batch", type=int, default=32, help="images per step")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--plot", type=Path, help="also draw the similarity maps: .png, .svg or .pdf")
    parser.add_argument("--output", type=Path, default=FILE, help="JSON document to write; default: beside this module")
    return parser


if __name__ == "__main__":
    main()

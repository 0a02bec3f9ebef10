"""Makes the checkpoints that ship: `python -m tessella.models.zoo.train`. The seed that is best on validation ships."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from .digits import Split, load_split
from .evaluate import Exam, accuracy, confusion, predict
from .recipe import RECIPES, Recipe
from .record import Outcome, best, record, save
from .training import Material, train

HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    console, split = Console(), load_split()
    for name in [options.network] if options.network else list(RECIPES):
        recipe = RECIPES[name]
        make(name, replace(recipe, steps=options.steps or recipe.steps), options.seeds, split, options.output, console)


def make(
    name: str, recipe: Recipe, seeds: Sequence[int], split: Split, folder: Path, console: Console
) -> list[Outcome]:
    """Trains, examines and writes one network; the test fifth is looked at once, after all seeds are trained."""
    console.print(f"[bold]{name}[/bold]: drawing lines through {len(split.train)} digits")
    material, exam = Material.of(split.train, recipe.preprocessing), Exam.of(split.validation, recipe.preprocessing)
    networks: dict[int, nn.Module] = {}
    outcomes: list[Outcome] = []
    for seed in seeds:
        started = time.process_time()
        networks[seed] = _train(name, recipe, material, seed, console)
        shares, seconds = exam.sit(networks[seed]), round(time.process_time() - started)
        outcomes.append(Outcome(seed=seed, **shares, test=0.0, steps=recipe.steps, cpu_seconds=seconds))
        console.print(
            f"seed {seed}: {seconds} s of CPU time, " + ", ".join(f"{key} {share:.2%}" for key, share in shares.items())
        )
    test = Exam.plain(split.test, recipe.preprocessing)
    answers = {seed: predict(network, test, recipe.preprocessing) for seed, network in networks.items()}
    outcomes = [replace(one, test=round(accuracy(answers[one.seed], split.test.labels), 5)) for one in outcomes]
    chosen = best(outcomes).seed
    document = record(name, recipe, split, outcomes, confusion(answers[chosen], split.test.labels))
    save(folder, networks[chosen], recipe, document)
    console.print(f"seed {chosen} ships; on the test fifth, mean of seeds {document['test_accuracy_mean']:.2%}")
    return outcomes


def _train(name: str, recipe: Recipe, material: Material, seed: int, console: Console) -> nn.Module:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{name}, seed {seed}", total=recipe.steps, loss="")

        def report(step: int, loss: float) -> None:
            progress.update(task, completed=step + 1, loss=f"loss {loss:.2f}")

        return train(recipe, material, seed, report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tessella.models.zoo.train", description=__doc__)
    parser.add_argument("--network", choices=RECIPES, help="only this one; both by default")
    parser.add_argument("--seeds", type=_seeds, default=[0, 1, 2], help="comma-separated, 0,1,2 by default")
    parser.add_argument("--steps", type=int, help="of training; the recipe's own by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--output", type=Path, default=HERE, help="folder; where the shipped ones lie by default")
    return parser


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers like 0,1,2") from None


if __name__ == "__main__":
    main()

"""Training of the shipped checkpoints: `python -m tessella.models.zoo.training.train`."""

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...checkpoints.sources import ZOO
from ...config import Config, TNTConfig
from ...networks.build import build
from ...networks.position_table import sincos_table
from ...networks.tnt import TNT
from ...networks.vit import ViT
from ...preprocessing.preprocess import Preprocessing
from .augment import augment
from .dataset import Digits, Split, load_split, picture
from .evaluate import ValidationSets, accuracy, confusion, network_input, pixels, predict
from .recipe import RECIPES, Recipe
from .record import Outcome, best, record, save
from .strokes import Ink, trace

Start = Literal["sincos", "small"]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Training digits: `plain`, preprocessed, uint8 (N, S, S); their strokes `ink`; `labels`, int64 (N,)."""

    plain: Tensor
    ink: Ink
    labels: Tensor
    preprocessing: Preprocessing

    @classmethod
    def of(cls, digits: Digits, preprocessing: Preprocessing) -> "TrainingSet":
        """Preprocess and trace digits."""
        plain = pixels(map(picture, digits.images), preprocessing)[..., 0].contiguous()
        return cls(plain, trace(digits), torch.from_numpy(digits.labels), preprocessing)


def initialise(network: ViT | TNT, *, positions: Start = "sincos") -> None:
    """Initialise in place: Glorot weights, as networks this narrow learn too slowly from a deviation of 0.02.

    Args:
        positions: `sincos` sets learned position tables to 2-D sin-cos values; `small` leaves them at a deviation of
            0.02, as in the papers.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    tables = dict(network.named_parameters())
    with torch.no_grad():
        tables["prefix" if isinstance(network, ViT) else "class_token"].normal_(std=0.5)
        if positions == "sincos":
            _set_sincos(network.config, tables)


def _set_sincos(config: Config, tables: Mapping[str, Tensor]) -> None:
    """Set the position tables that exist to 2-D sin-cos values, in place; training may change them."""
    for name in ("position_embedding.weight", "outer_position"):
        if name in tables:
            tables[name][-(config.grid**2) :] = torch.from_numpy(sincos_table(config.grid, config.dim))
    if isinstance(config, TNTConfig) and "inner_position" in tables:
        tables["inner_position"].copy_(torch.from_numpy(sincos_table(math.isqrt(config.words), config.inner_dim)))


def train(
    recipe: Recipe,
    training_set: TrainingSet,
    seed: int,
    report: Callable[[int, float], None],
    *,
    positions: Start = "sincos",
) -> ViT | TNT:
    """Train a network for `recipe.steps` steps and return its moving average, in evaluation mode.

    Args:
        report: called with step and loss after each step.
        positions: as `initialise`.
    """
    torch.manual_seed(seed)
    generator = Generator().manual_seed(seed)
    network = build(recipe.config).train()
    initialise(network, positions=positions)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    optimiser = torch.optim.AdamW(
        _parameter_groups(network, recipe.weight_decay), recipe.learning_rate, betas=(0.9, 0.99), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate_factor(step, recipe))
    for step in range(recipe.steps):
        images, labels = _batch(recipe, training_set, step / recipe.steps, generator)
        loss = F.cross_entropy(network(images), labels, label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(network)
        report(step, loss.item())
    averaged.module.eval()
    return cast(ViT | TNT, averaged.module)


def _batch(recipe: Recipe, training_set: TrainingSet, progress: float, generator: Generator) -> tuple[Tensor, Tensor]:
    rows = torch.randint(len(training_set.labels), (recipe.batch,), generator=generator)
    size, augmentation = training_set.preprocessing.size, recipe.augmentation.eased(min(1.0, progress / recipe.easy))
    drawn = augment(training_set.plain, training_set.ink, rows, size, augmentation, generator)
    return network_input(drawn, training_set.preprocessing), training_set.labels[rows]


def _learning_rate_factor(step: int, recipe: Recipe) -> float:
    """Learning-rate factor: linear warm-up to 1 in `warmup` steps, cosine decay to 0."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Parameter groups: weight decay for matrices; none for biases, norms, position tables and tokens."""
    matrices = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    decayed = [parameter for parameter in network.parameters() if id(parameter) in matrices]
    others = [parameter for parameter in network.parameters() if id(parameter) not in matrices]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    console, split = Console(), load_split()
    for name in [options.network] if options.network else list(RECIPES):
        recipe = RECIPES[name]
        train_and_record(
            name, replace(recipe, steps=options.steps or recipe.steps), options.seeds, split, options.output, console
        )


def train_and_record(
    name: str, recipe: Recipe, seeds: Sequence[int], split: Split, folder: Path, console: Console
) -> list[Outcome]:
    """Train all seeds of a network, evaluate them and write the best; the test set is used once, after training."""
    console.print(f"[bold]{name}[/bold]: tracing the strokes of {len(split.train)} digits")
    training_set, validation = (
        TrainingSet.of(split.train, recipe.preprocessing),
        ValidationSets.of(split.validation, recipe.preprocessing),
    )
    networks: dict[int, nn.Module] = {}
    outcomes: list[Outcome] = []
    for seed in seeds:
        started = time.process_time()
        networks[seed] = _train_with_progress(name, recipe, training_set, seed, console)
        shares, seconds = validation.evaluate(networks[seed]), round(time.process_time() - started)
        outcomes.append(Outcome(seed=seed, **shares, test=0.0, steps=recipe.steps, cpu_seconds=seconds))
        console.print(
            f"seed {seed}: {seconds} s of CPU time, " + ", ".join(f"{key} {share:.2%}" for key, share in shares.items())
        )
    test = ValidationSets.plain(split.test, recipe.preprocessing)
    predictions = {seed: predict(network, test, recipe.preprocessing) for seed, network in networks.items()}
    outcomes = [replace(one, test=round(accuracy(predictions[one.seed], split.test.labels), 5)) for one in outcomes]
    chosen = best(outcomes).seed
    document = record(name, recipe, split, outcomes, confusion(predictions[chosen], split.test.labels))
    save(folder, networks[chosen], recipe, document)
    console.print(f"seed {chosen} ships; test accuracy, mean of seeds {document['test_accuracy_mean']:.2%}")
    return outcomes


def _train_with_progress(
    name: str, recipe: Recipe, training_set: TrainingSet, seed: int, console: Console
) -> nn.Module:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{name}, seed {seed}", total=recipe.steps, loss="")

        def report(step: int, loss: float) -> None:
            progress.update(task, completed=step + 1, loss=f"loss {loss:.2f}")

        return train(recipe, training_set, seed, report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tessella.models.zoo.training.train", description=__doc__)
    parser.add_argument("--network", choices=RECIPES, help="the only network to train; default: both")
    parser.add_argument("--seeds", type=_seeds, default=[0, 1, 2], help="comma-separated; default: 0,1,2")
    parser.add_argument("--steps", type=int, help="training steps; default: the recipe's")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument(
        "--output", type=Path, default=ZOO, help="folder to write to; default: the folder of the shipped checkpoints"
    )
    return parser


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 0,1,2") from None


if __name__ == "__main__":
    main()

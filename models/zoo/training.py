"""The training loop: one network, one seed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config import Config, TNTConfig
from ..networks import build
from ..positions import sincos_table
from ..preprocess import Preprocessing
from ..tnt import TNT
from ..vit import ViT
from .augment import augment
from .digits import Digits, picture
from .evaluate import network_input, pixels
from .ink import Ink, trace
from .recipe import Recipe

Start = Literal["sincos", "small"]


@dataclass(frozen=True, slots=True)
class Material:
    """What training pictures are made of: `plain` uint8 (N, S, S), `ink` of the same digits, `labels` int64 (N,)."""

    plain: Tensor
    ink: Ink
    labels: Tensor
    preprocessing: Preprocessing

    @classmethod
    def of(cls, digits: Digits, preprocessing: Preprocessing) -> "Material":
        plain = pixels(map(picture, digits.images), preprocessing)[..., 0].contiguous()
        return cls(plain, trace(digits), torch.from_numpy(digits.labels), preprocessing)


def initialise(network: ViT | TNT, *, positions: Start = "sincos") -> None:
    """Glorot's weights and sin-cos positions: networks this narrow start far too slowly from deviations of 0.02.

    `positions="small"` leaves learned tables at random values of that deviation, as in the papers.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    tables = dict(network.named_parameters())
    with torch.no_grad():
        tables["prefix" if isinstance(network, ViT) else "class_token"].normal_(std=0.5)
        if positions == "sincos":
            _lay_out(network.config, tables)


def _lay_out(config: Config, tables: Mapping[str, Tensor]) -> None:
    """Whichever of the tables of single places there are: 2-D sin-cos values, which training may change."""
    for name in ("position_embedding.weight", "outer_position"):
        if name in tables:
            tables[name][-(config.grid**2) :] = sincos_table(config.grid, config.dim)
    if isinstance(config, TNTConfig) and "inner_position" in tables:
        tables["inner_position"].copy_(sincos_table(math.isqrt(config.words), config.inner_dim))


def train(
    recipe: Recipe, material: Material, seed: int, report: Callable[[int, float], None], *, positions: Start = "sincos"
) -> ViT | TNT:
    """The averaged network after `recipe.steps` steps. `report(step, loss)` is called after each."""
    torch.manual_seed(seed)
    generator = Generator().manual_seed(seed)
    network = build(recipe.config).train()
    initialise(network, positions=positions)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    optimiser = torch.optim.AdamW(
        _groups(network, recipe.weight_decay), recipe.learning_rate, betas=(0.9, 0.99), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
    for step in range(recipe.steps):
        images, labels = _batch(recipe, material, step / recipe.steps, generator)
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


def _batch(recipe: Recipe, material: Material, progress: float, generator: Generator) -> tuple[Tensor, Tensor]:
    rows = torch.randint(len(material.labels), (recipe.batch,), generator=generator)
    size, how = material.preprocessing.size, recipe.augmentation.eased(min(1.0, progress / recipe.easy))
    drawn = augment(material.plain, material.ink, rows, size, how, generator)
    return network_input(drawn, material.preprocessing), material.labels[rows]


def _rate(step: int, recipe: Recipe) -> float:
    """The factor on the learning rate: up to 1 in `warmup` steps, down to 0 along a cosine."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases, norms and tables of positions and tokens do not."""
    matrices = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    decayed = [parameter for parameter in network.parameters() if id(parameter) in matrices]
    others = [parameter for parameter in network.parameters() if id(parameter) not in matrices]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]

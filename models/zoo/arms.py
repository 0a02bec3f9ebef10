"""The rows of the position ablation: the shipped recipes cut short, each with another table of positions, or none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from ..config import Position, TNTConfig, ViTConfig
from .augment import Augmentation
from .recipe import RECIPES, Recipe
from .training import Start


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

"""The shapes of a foreign checkpoint under our names: what they show, and what has to be concluded. Knows no torch."""

import re
from collections.abc import Mapping
from typing import TypeVar

from .config import Config
from .dialects import recognise
from .errors import CheckpointError
from .sidecar import Statement

Shape = tuple[int, ...]
T = TypeVar("T")


class Evidence:
    """A checkpoint's shapes, what was said beside them, and the conclusions drawn so far.

    Args:
        foreign: name -> shape, as the checkpoint has them.

    Raises:
        CheckpointError: not a ViT, DeiT or TNT.
    """

    def __init__(self, foreign: Mapping[str, Shape], statement: Statement) -> None:
        self.dialect = recognise(foreign)
        self.statement = statement
        self.conclusions: list[str] = []
        renamed = ((self.dialect.rename(name), shape) for name, shape in foreign.items())
        self.shapes = {name: shape for name, shape in renamed if name is not None}

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name, or the first part of one."""
        return name in self.shapes or f"{name}#0" in self.shapes

    def shape(self, name: str, dimensions: int) -> Shape:
        """The shape of a tensor that must be there; parts are stacked along their rows."""
        parts = [shape for key, shape in self.shapes.items() if name in (key, key.partition("#")[0])]
        if not parts:
            raise CheckpointError(f"no tensor for {name!r}: the checkpoint is incomplete, or of another architecture")
        if any(len(part) != dimensions for part in parts):
            raise CheckpointError(f"the tensor for {name!r} has shape {parts[0]}; expected {dimensions} dimensions")
        return (sum(part[0] for part in parts), *parts[0][1:])

    def depth(self) -> int:
        numbers = {int(found[1]) for key in self.shapes if (found := re.match(r"blocks\.(\d+)\.", key))}
        if missing := set(range(max(numbers, default=-1))) - numbers:
            raise CheckpointError(f"no tensors for block {min(missing)}, though there is a block {max(numbers)}")
        return len(numbers)

    def num_classes(self) -> int:
        return self.shape("head.weight", 2)[0] if self.has("head.weight") else 0

    def norm_eps(self, known: Mapping[str, Config]) -> float:
        said = self.statement.norm_eps
        if said is None or self.statement.architecture is not None:
            said = self.dialect.norm_eps or said
        return self.settle("LayerNorm epsilon", said, {name: config.norm_eps for name, config in known.items()})

    def settle(self, what: str, said: T | None, known: Mapping[str, T]) -> T:
        """What was said, or else the one value that all `known` architectures of this form share.

        Raises:
            CheckpointError: they differ, or there is none.
        """
        if said is not None:
            return said
        examples = {value: name for name, value in known.items()}
        if len(examples) == 1:
            (value,) = examples
            self.conclusions.append(f"{what} {value}, as in every known architecture of this form")
            return value
        options = ", ".join(f"{value} in {name}" for value, name in examples.items())
        found = f"known architectures of this form differ ({options})" if options else "no known architecture is alike"
        raise CheckpointError(
            f"the {what} does not show in tensors, {self.statement.origin} does not say it, and {found}"
            '; name the timm architecture: `architecture=`, or {"architecture": …} in a config.json beside the file'
        )

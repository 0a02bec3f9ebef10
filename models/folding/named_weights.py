"""Weights of a published network by our names, read in float64 as folding needs them. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...kernels.weights import LinearWeights, NormWeights
from .graph import Array


@dataclass(frozen=True, slots=True, eq=False)
class NamedWeights:
    """State dict of a network or submodule: its arrays in float64, by name.

    Attributes:
        arrays: of the whole network by name, of any floating dtype (bfloat16 as ml_dtypes); not changed.
        eps: of every LayerNorm.
        prefix: of the submodule's names; methods take the rest of a name.
    """

    arrays: Mapping[str, Array]
    eps: float
    prefix: str = ""

    def part(self, name: str) -> "NamedWeights":
        """Weights of a submodule."""
        return NamedWeights(self.arrays, self.eps, f"{self.prefix}{name}.")

    def array(self, name: str) -> Array:
        """Copy of an array in float64.

        Raises:
            KeyError: the state dict lacks it.
        """
        return self.arrays[self.prefix + name].astype(np.float64)

    def norm(self, name: str) -> NormWeights[Array]:
        """Weights of a LayerNorm."""
        return NormWeights(self.array(f"{name}.weight"), self.array(f"{name}.bias"), self.eps)

    def linear(self, name: str, *, bias: bool = True, norm: str | None = None) -> LinearWeights[Array]:
        """Weights of a linear layer, with the LayerNorm before it."""
        return LinearWeights(
            self.array(f"{name}.weight"),
            self.array(f"{name}.bias") if bias else None,
            None if norm is None else self.norm(norm),
        )

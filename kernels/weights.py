"""What an operator needs besides its input: frozen bundles of tensors, as folding leaves them. No arithmetic here."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class NormWeights:
    """A LayerNorm: `weight` and `bias` (D,), and what is added to the variance."""

    weight: Tensor
    bias: Tensor
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class LinearWeights:
    """A linear layer and what folding put into it or left beside it.

    Attributes:
        weight: (out, in), in the dtype of the product.
        bias: (out,), or None.
        norm: the LayerNorm before the product where it runs as a step of its own.
        sums: (out,), the row sums of `weight` as rounded, where a LayerNorm is folded into weight and bias:
            the product's result is then `rstd · (x · weightᵀ - mean · sums) + bias`.
        eps: of the folded LayerNorm.
        scale: (out,), a LayerScale on the result, where it is not folded.
    """

    weight: Tensor
    bias: Tensor | None = None
    norm: NormWeights | None = None
    sums: Tensor | None = None
    eps: float = 0.0
    scale: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PatchWeights:
    """The projection of patches and everything that is added to tokens before the first block.

    Attributes:
        weight: (D, patch² · 3), the pixels of a patch as (y, x, channel).
        table: (N, D): position plus class, distillation or register token for the first rows, position plus bias for
        the rest.
        patch_size: in pixels.
        prefix: rows of the table before the first patch.
    """

    weight: Tensor
    table: Tensor
    patch_size: int
    prefix: int

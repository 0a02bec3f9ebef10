"""Weights of operators as folding produces them: frozen dataclasses of tensors or arrays. No torch at import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol

from typing_extensions import TypeVar  # the standard library's has no default before Python 3.13

if TYPE_CHECKING:
    from torch import Tensor


class Shaped(Protocol):
    """Array of any library: a tensor here and in kernels, a NumPy array where weights are folded."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""


A = TypeVar("A", bound=Shaped, default="Tensor")

MATRICES = ("qkv", "projection", "expand", "contract")
"""Matrices of InnerWeights."""
VECTORS = ("query_bias", "projection_bias", "expand_bias", "contract_bias")
"""Biases of InnerWeights."""
CHUNK = 32
"""Hidden channels per step of the MLP in the kernel `tnt_inner`."""


@dataclass(frozen=True, slots=True, eq=False)
class NormWeights(Generic[A]):
    """LayerNorm weights.

    Attributes:
        weight, bias: (D,).
        eps: added to the variance.
    """

    weight: A
    bias: A
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class LinearWeights(Generic[A]):
    """Linear layer weights, with the LayerNorm and LayerScale that folding put into them or left separate.

    Attributes:
        weight: (out, in), in the dtype of the GEMM.
        bias: (out,), or None.
        norm: LayerNorm before the layer, where it is not folded.
        sums: (out,), row sums of `weight` as rounded, where a LayerNorm is folded into weight and bias: the result is
            then `rstd · (x · weightᵀ - mean · sums) + bias`.
        eps: of the folded LayerNorm.
        scale: (out,), LayerScale on the result, where it is not folded.
    """

    weight: A
    bias: A | None = None
    norm: NormWeights[A] | None = None
    sums: A | None = None
    eps: float = 0.0
    scale: A | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PatchWeights(Generic[A]):
    """Patch projection, and everything that is added to tokens before the first block.

    Attributes:
        weight: (D, patch² · 3), pixels of a patch as (y, x, channel).
        table: (N, D): for the first rows position plus class, distillation or register token; for the rest position
            plus bias.
        patch_size: in pixels.
        prefix: number of tokens before the first patch.
    """

    weight: A
    table: A
    patch_size: int
    prefix: int


@dataclass(frozen=True, slots=True, eq=False)
class InnerEmbedWeights(Generic[A]):
    """Embedding of TNT's inner tokens: from the pixels of a patch and its margin to its inner tokens, as one GEMM.

    Attributes:
        weight: (W · d, window² · 3), pixels of a window as (y, x, channel).
        table: (P, W · d): bias and inner position, minus the contribution of the mean of the pixels inside the image.
        patch_size: in pixels, the stride between windows.
        margin: pixels by which the first window extends over the image's upper and left edge.
        window: side of a window in pixels; `patch_size` where the embedding sees each patch in isolation.
    """

    weight: A
    table: A
    patch_size: int
    margin: int
    window: int


@dataclass(frozen=True, slots=True, eq=False)
class PackedInnerWeights:
    """InnerWeights in the kernel's layout: transposed, and zero-padded to powers of two once, on the host.

    L blocks; D' channels; H' heads of d' channels make E = H' · d'; F' hidden channels.

    Attributes:
        qkv: (L, 3, D', E).
        query_bias: float32 (L, E).
        projection: (L, E, D').
        projection_bias: float32 (L, D').
        expand: (L, D', F').
        expand_bias: float32 (L, F').
        contract: (L, F', D').
        contract_bias: float32 (L, D').
        heads: H'.
    """

    qkv: Tensor
    query_bias: Tensor
    projection: Tensor
    projection_bias: Tensor
    expand: Tensor
    expand_bias: Tensor
    contract: Tensor
    contract_bias: Tensor
    heads: int

    def tensors(self, first: int, last: int) -> tuple[Tensor, ...]:
        """All tensors of blocks `first` to `last` (exclusive), in the order of the kernel's arguments."""
        return tuple(getattr(self, name)[first:last] for name in self.__slots__ if name != "heads")


@dataclass(frozen=True, slots=True, eq=False)
class AbsorbedAttention(Generic[A]):
    """Inner attention with K and V absorbed: the inner tokens themselves serve as keys and values of every head.

    Heads a few channels wide make small, badly shaped GEMMs. Here a patch's attention is two GEMMs over all channels,
    with the heads stacked as rows. Exact, and faster on a CPU despite the additional arithmetic.

    Attributes:
        query: (L, h · d, d), query projection of each head, multiplied by its key projection.
        query_bias: (L, h · d).
        output: (L, d, h · d), value projection of each head, multiplied by its part of the output projection.
    """

    query: A
    query_bias: A
    output: A


@dataclass(frozen=True, slots=True, eq=False)
class InnerWeights(Generic[A]):
    """All inner encoder blocks of a TNT, stacked: L blocks, d channels, F hidden channels.

    The weight and bias of each LayerNorm are folded into the layer after it. The K bias is dropped, the V bias is
    folded into the projection's, and 1 / sqrt(head width) into the query.

    Attributes:
        qkv: (L, 3d, d), rows as (Q, K, V), each as (head, channel).
        query_bias: (L, d).
        projection, expand, contract: (L, d, d), (L, F, d), (L, d, F), each with its bias (L, …).
        heads: of each block.
        eps: of every LayerNorm.
        per_token: True where inputs of projections are standardised per inner token; the first one never is.
        packed: the same weights in the kernel's layout, if already packed.
        absorbed: used in place of qkv and projection, if present.
    """

    qkv: A
    query_bias: A
    projection: A
    projection_bias: A
    expand: A
    expand_bias: A
    contract: A
    contract_bias: A
    heads: int
    eps: float
    per_token: bool
    packed: PackedInnerWeights | None = None
    absorbed: AbsorbedAttention[A] | None = None

    @property
    def depth(self) -> int:
        """Number of blocks, L."""
        return self.qkv.shape[0]

    @property
    def dim(self) -> int:
        """Channels of an inner token, d."""
        return self.qkv.shape[2]


@dataclass(frozen=True, slots=True, eq=False)
class InnerProjectionWeights(Generic[A]):
    """Projections of inner tokens onto patch tokens, one per group.

    Attributes:
        weight: (G, D, W · d).
        bias: (G, D).
    """

    weight: A
    bias: A

"""What an operator needs besides its input: frozen bundles of tensors, as folding leaves them. No arithmetic here."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .tuning.heuristics import next_power_of_two

MATRICES = ("qkv", "projection", "expand", "contract")
VECTORS = ("query_bias", "projection_bias", "expand_bias", "contract_bias")
"""The tensors of InnerWeights, of both kinds."""


@dataclass(frozen=True, slots=True, eq=False)
class InnerEmbedWeights:
    """From the bytes of a patch, and of the margin around it, to its words in one product.

    Attributes:
        weight: (W · d, window² · 3), the pixels of a window as (y, x, channel).
        table: (P, W · d): bias and inner position, and what the mean of the pixels inside the image takes away.
        patch_size: in pixels, from one window to the next.
        margin: how far the first window reaches over the image's upper and left edge.
        window: side of a window in pixels; `patch_size` where the embedding sees each patch in isolation.
    """

    weight: Tensor
    table: Tensor
    patch_size: int
    margin: int
    window: int


@dataclass(frozen=True, slots=True, eq=False)
class PackedInnerWeights:
    """The inner blocks as their kernel reads them: transposed, and padded to powers of two once, on the host.

    L blocks; D' channels; H' heads of d' channels make E = H' · d'; F' hidden channels. Zeros fill what was added.

    Attributes:
        qkv: (L, 3, D', E). query_bias: float32 (L, E).
        projection: (L, E, D'). projection_bias: float32 (L, D').
        expand: (L, D', F'). expand_bias: float32 (L, F').
        contract: (L, F', D'). contract_bias: float32 (L, D').
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
        """All of blocks `first` to `last` (without it), in the order of the kernel's arguments."""
        return tuple(getattr(self, name)[first:last] for name in self.__slots__ if name != "heads")


@dataclass(frozen=True, slots=True, eq=False)
class AbsorbedAttention:
    """The attention of the inner blocks with K and V absorbed: words themselves are keys and values of every head.

    Heads a few channels wide make small, badly shaped products. Here a patch's attention is two products over all
    channels, and the heads stand side by side as rows. Exact, and worth its further arithmetic on a CPU.

    Attributes:
        query: (L, h · d, d), a word into each head's query among words. query_bias: (L, h · d).
        output: (L, d, h · d), of each head's mixture of words: its V and its part of the projection.
    """

    query: Tensor
    query_bias: Tensor
    output: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class InnerWeights:
    """All inner encoder blocks, one behind the other; L blocks, d channels, F hidden ones.

    The weight and bias of each LayerNorm sit in the product after it. The K bias is gone, the V bias is in the
    projection's, and 1 / sqrt(head width) in the query.

    Attributes:
        qkv: (L, 3d, d), rows as (Q, K, V), each as (head, channel).
        query_bias: (L, d).
        projection, expand, contract: (L, d, d), (L, F, d), (L, d, F), each with its bias (L, …).
        heads: of each block.
        eps: of every LayerNorm.
        per_token: whether the rows that leave are normalised word by word; the first one never is.
        packed: the same for the kernel, where it was made already.
        absorbed: what stands in for qkv and projection, where the attention is to run so.
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
    eps: float
    per_token: bool
    packed: PackedInnerWeights | None = None
    absorbed: AbsorbedAttention | None = None

    @property
    def depth(self) -> int:
        return len(self.qkv)

    @property
    def dim(self) -> int:
        return self.qkv.shape[2]


@dataclass(frozen=True, slots=True, eq=False)
class InnerProjectionWeights:
    """The products that make patch tokens of rows of words: `weight` (G, D, W · d), `bias` (G, D)."""

    weight: Tensor
    bias: Tensor


CHUNK = 32
"""Hidden channels that the kernel computes at a time."""


def pack(weights: InnerWeights) -> PackedInnerWeights:
    """These weights for the kernel."""
    heads, dim = weights.heads, weights.dim
    width = next_power_of_two(max(dim // heads, 8))
    count = max(next_power_of_two(heads), -(-16 // width))
    channels = next_power_of_two(max(dim, 16))
    hidden = -(-weights.expand.shape[1] // CHUNK) * CHUNK

    def by_head(x: Tensor) -> Tensor:  # (…, h · d) -> (…, E)
        own = x.unflatten(-1, (heads, -1))
        return F.pad(own, (0, width - own.shape[-1], 0, count - heads)).flatten(-2)

    qkv = torch.stack(weights.qkv.chunk(3, dim=1), dim=1).transpose(2, 3)  # (L, 3, D, h · d)
    return PackedInnerWeights(
        qkv=_padded(by_head(qkv), channels, count * width),
        query_bias=by_head(weights.query_bias).contiguous(),
        projection=_padded(by_head(weights.projection).transpose(1, 2), count * width, channels),
        projection_bias=_padded(weights.projection_bias, channels),
        expand=_padded(weights.expand.transpose(1, 2), channels, hidden),
        expand_bias=_padded(weights.expand_bias, hidden),
        contract=_padded(weights.contract.transpose(1, 2), hidden, channels),
        contract_bias=_padded(weights.contract_bias, channels),
        heads=count,
    )


def _padded(x: Tensor, *sizes: int) -> Tensor:
    """Zeros after the last dimensions, up to these sizes."""
    missing = [size - length for size, length in zip(sizes, x.shape[-len(sizes) :], strict=True)]
    return F.pad(x, [part for more in reversed(missing) for part in (0, more)]).contiguous()


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

"""What the operators of a TNT need besides their input: frozen bundles of tensors, as folding leaves them."""

from dataclasses import dataclass

from torch import Tensor

MATRICES = ("qkv", "projection", "expand", "contract")
VECTORS = ("query_bias", "projection_bias", "expand_bias", "contract_bias")
"""The tensors of InnerWeights, of both kinds."""


@dataclass(frozen=True, slots=True, eq=False)
class WordWeights:
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
class PackedInner:
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
class AbsorbedWords:
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
        per_word: whether the rows that leave are normalised word by word; the first one never is.
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
    per_word: bool
    packed: PackedInner | None = None
    absorbed: AbsorbedWords | None = None

    @property
    def depth(self) -> int:
        return len(self.qkv)

    @property
    def dim(self) -> int:
        return self.qkv.shape[2]


@dataclass(frozen=True, slots=True, eq=False)
class SentenceWeights:
    """The products that make patch tokens of rows of words: `weight` (G, D, W · d), `bias` (G, D)."""

    weight: Tensor
    bias: Tensor

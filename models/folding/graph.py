"""The weights of a folded Vision Transformer: plain frozen dataclasses of tensors. How they come about is in
fold.py.
"""

from dataclasses import dataclass

from torch import Tensor

from ...kernels.weights import (
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    LinearWeights,
    NormWeights,
    PatchWeights,
)
from ..config import TNTConfig, ViTConfig


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """How pixels enter: normalised by mean and std (3,) first, or, where those are folded, as the bytes they are."""

    mean: Tensor
    std: Tensor
    folded: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BlockWeights:
    """An encoder block: LayerNorm, QKV, attention, projection; LayerNorm, expand, activation, contract."""

    qkv: LinearWeights
    projection: LinearWeights
    expand: LinearWeights
    contract: LinearWeights
    query_norm: NormWeights | None = None
    key_norm: NormWeights | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LastBlockWeights:
    """The last block for the pooled rows only, K and V absorbed: scores are `(queryᵀ key) · norm(x)`.

    Attributes:
        query: (D, D) and its bias.
        key: (h, D, d), a head's query into the space of tokens.
        value: (h, d, D), a head's mixture of tokens into its channels; the V bias sits in the projection's.
        norm: of the tokens, without weight and bias (they sit in key, value and projection).
    """

    query: LinearWeights
    key: Tensor
    value: Tensor
    projection: LinearWeights
    expand: LinearWeights
    contract: LinearWeights
    norm: NormWeights


@dataclass(frozen=True, slots=True, eq=False)
class FoldedViT:
    """The folded graph. `last` is None where the last block runs whole and stands among `blocks`.

    `norm` is the last LayerNorm as published, for networks without a head and for embeddings; the heads carry it too.
    """

    config: ViTConfig
    pixels: Pixels
    patches: PatchWeights
    input_norm: NormWeights | None
    blocks: tuple[BlockWeights, ...]
    last: LastBlockWeights | None
    norm: NormWeights
    heads: tuple[LinearWeights, ...]
    """None, one, or two with a distillation token: their results add up."""
    layer_norm_folded: bool = False
    """Whether row statistics travel with the tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldedTNT:
    """The folded graph: words of all blocks first, then one product for all their rows, then a ViT that adds them.

    Attributes:
        words: pixels to words; the inner position is in its table.
        inner: all inner blocks.
        sentences: 1 + depth products: the words' first, which makes the patch tokens, then each block's.
        sentence_norms: the LayerNorm on each product's result, None where the form has none.
        table: (N, D), what every image's tokens begin with: class token and outer position.
        outer: the outer stack. Its `patches` are empty: tokens come from words.
    """

    config: TNTConfig
    pixels: Pixels
    words: InnerEmbedWeights
    inner: InnerWeights
    sentences: InnerProjectionWeights
    sentence_norms: tuple[NormWeights | None, ...]
    table: Tensor
    outer: FoldedViT

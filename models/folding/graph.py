"""Folded graphs of ViT and TNT: frozen dataclasses of weights, made by `fold_vit` and `fold_tnt`. No torch."""

from dataclasses import dataclass
from typing import Any, Generic

from numpy.typing import NDArray

from ...kernels.weights import (
    A,
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    LinearWeights,
    NormWeights,
    PatchWeights,
)
from ..config import TNTConfig, ViTConfig

Array = NDArray[Any]
"""Weights as folding computes them; `models/execution` runs the same graphs over tensors."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelNormalisation(Generic[A]):
    """Pixel normalisation by mean and std (3,); if folded into the weights, uint8 pixels enter unchanged."""

    mean: A
    std: A
    folded: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BlockWeights(Generic[A]):
    """Encoder block: LayerNorm, QKV, attention, projection; LayerNorm, expand, activation, contract."""

    qkv: LinearWeights[A]
    projection: LinearWeights[A]
    expand: LinearWeights[A]
    contract: LinearWeights[A]
    query_norm: NormWeights[A] | None = None
    key_norm: NormWeights[A] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LastBlockWeights(Generic[A]):
    """Last encoder block for the pooled rows only, K and V absorbed: scores are `(queryᵀ key) · norm(x)`.

    Attributes:
        query: (D, D) and its bias.
        key: (h, D, d), from a head's query to the space of tokens.
        value: (h, d, D), from a head's weighted sum of tokens to its channels; the V bias is in the projection's bias.
        norm: LayerNorm of the tokens, without weight and bias, which are in key, value and projection.
    """

    query: LinearWeights[A]
    key: A
    value: A
    projection: LinearWeights[A]
    expand: LinearWeights[A]
    contract: LinearWeights[A]
    norm: NormWeights[A]


@dataclass(frozen=True, slots=True, eq=False)
class FoldedViT(Generic[A]):
    """Folded graph of a ViT.

    Attributes:
        last: the last block for pooled rows; None if it runs whole, as the last of `blocks`.
        norm: the last LayerNorm as published, for embeddings and networks without a head; the heads contain it too.
        heads: none, one, or two with a distillation token, whose results add up.
        layer_norm_folded: True if row statistics are passed along with the tokens.
    """

    config: ViTConfig
    pixels: PixelNormalisation[A]
    patches: PatchWeights[A]
    input_norm: NormWeights[A] | None
    blocks: tuple[BlockWeights[A], ...]
    last: LastBlockWeights[A] | None
    norm: NormWeights[A]
    heads: tuple[LinearWeights[A], ...]
    layer_norm_folded: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class FoldedTNT(Generic[A]):
    """Folded graph of a TNT: all inner blocks first, then one product for all their rows, then a ViT that adds these.

    Attributes:
        inner_embedding: pixels to inner tokens; its table contains the inner position.
        inner_blocks: weights of all inner blocks.
        inner_projections: 1 + depth products: of the embedded inner tokens, which makes the patch tokens, then one
            per block.
        projection_norms: LayerNorm after each product, None in the form without one.
        table: (N, D), initial tokens of every image: class token and outer position.
        outer: the outer stack; its `patches` are empty, as tokens come from inner tokens.
    """

    config: TNTConfig
    pixels: PixelNormalisation[A]
    inner_embedding: InnerEmbedWeights[A]
    inner_blocks: InnerWeights[A]
    inner_projections: InnerProjectionWeights[A]
    projection_norms: tuple[NormWeights[A] | None, ...]
    table: A
    outer: FoldedViT[A]

"""The weights of a folded TNT: plain frozen dataclasses of tensors. How they come about is in fold_tnt.py."""

from dataclasses import dataclass

from torch import Tensor

from ..kernels.weights import InnerWeights, NormWeights, SentenceWeights, WordWeights
from .config import TNTConfig
from .folded import FoldedViT, Pixels


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
    words: WordWeights
    inner: InnerWeights
    sentences: SentenceWeights
    sentence_norms: tuple[NormWeights | None, ...]
    table: Tensor
    outer: FoldedViT

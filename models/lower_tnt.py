"""A folded TNT in float64 -> the one that runs, rounded as in lower.py."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..kernels.weights import MATRICES, VECTORS, AbsorbedWords, InnerWeights, SentenceWeights, WordWeights, pack
from .folded_tnt import FoldedTNT
from .lower import Lowering


def lower_tnt(to: Lowering, x: FoldedTNT) -> FoldedTNT:
    return replace(
        x,
        pixels=replace(x.pixels, mean=to.vector(x.pixels.mean), std=to.vector(x.pixels.std)),
        words=_words(to, x),
        inner=_inner(to, x.inner),
        sentences=SentenceWeights(to.matrix(x.sentences.weight), to.vector(x.sentences.bias)),
        sentence_norms=tuple(norm and to.norm(norm) for norm in x.sentence_norms),
        table=to.vector(x.table),
        outer=to.graph(x.outer),
    )


def _words(to: Lowering, x: FoldedTNT) -> WordWeights:
    table = x.words.table
    if x.pixels.folded:
        rounded = x.words.weight.to(to.dtype).double()
        table = table - (pixels_inside(x.words, x.config.grid) * (255 * x.pixels.mean)).flatten(1) @ rounded.T
    return replace(x.words, weight=to.matrix(x.words.weight), table=to.vector(table))


def pixels_inside(words: WordWeights, grid: int) -> Tensor:
    """Which pixels of each patch's window lie inside the image: ones and zeros, float64 (P, window², 1).

    Outside it the convolution pads its normalised image with zeros, and there is no mean to take away.
    """
    places = torch.arange(grid)[:, None] * words.patch_size - words.margin + torch.arange(words.window)
    inside = (places >= 0) & (places < grid * words.patch_size)  # (grid, window)
    both = inside[:, None, :, None] & inside[None, :, None, :]  # (rows, columns, y, x)
    return both.flatten(2).flatten(0, 1).double()[..., None]


def _inner(to: Lowering, x: InnerWeights) -> InnerWeights:
    lowered: dict[str, Any] = {name: to.matrix(getattr(x, name)) for name in MATRICES}
    lowered |= {name: to.vector(getattr(x, name)) for name in VECTORS}
    if x.absorbed is not None:
        lowered["absorbed"] = AbsorbedWords(
            query=to.matrix(x.absorbed.query),
            query_bias=to.vector(x.absorbed.query_bias),
            output=to.matrix(x.absorbed.output),
        )
    rounded = replace(x, **lowered)
    return replace(rounded, packed=pack(rounded))

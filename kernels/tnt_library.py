"""TNT's Triton operators as torch.library sees them; see library.py."""

import torch
from torch import Tensor

from .backend import require


@torch.library.custom_op("tessella::word_embed", mutates_args=("out",))
def word_embed(
    pixels: Tensor,
    weight: Tensor,
    table: Tensor,
    patch_size: int,
    margin: int,
    window: int,
    out: Tensor,
    batch_invariant: bool,
) -> None:
    require(pixels)
    from .word_embed import word_embed as launch

    launch(pixels, weight, table, patch_size, margin, window, out, batch_invariant)


@torch.library.custom_op("tessella::tnt_inner", mutates_args=("rows", "state"))
def tnt_inner(
    words: Tensor,
    qkv: Tensor,
    query_bias: Tensor,
    projection: Tensor,
    projection_bias: Tensor,
    expand: Tensor,
    expand_bias: Tensor,
    contract: Tensor,
    contract_bias: Tensor,
    heads: int,
    dim: int,
    eps: float,
    per_word: bool,
    rows: Tensor,
    state: Tensor | None,
    batch_invariant: bool,
) -> None:
    require(words)
    from .tnt_inner import tnt_inner as launch

    launch(
        words,
        qkv,
        query_bias,
        projection,
        projection_bias,
        expand,
        expand_bias,
        contract,
        contract_bias,
        heads,
        dim,
        eps,
        per_word,
        rows,
        state,
        batch_invariant,
    )


@torch.library.custom_op("tessella::project_words", mutates_args=("out",))
def project_words(rows: Tensor, weight: Tensor, bias: Tensor, out: Tensor, batch_invariant: bool) -> None:
    require(rows)
    from .word_projection import project_words as launch

    launch(rows, weight, bias, out, batch_invariant)


@torch.library.custom_op("tessella::add_words", mutates_args=("out", "statistics"))
def add_words(
    x: Tensor,
    rows: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    out: Tensor,
    statistics: Tensor | None,
) -> None:
    require(rows)
    from .add_words import add_words as launch

    launch(x, rows, weight, bias, eps, out, statistics)


for _operator in (word_embed, tnt_inner, project_words, add_words):
    _operator.register_fake(lambda *arguments: None)

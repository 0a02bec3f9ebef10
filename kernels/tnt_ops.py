"""The operators that a TNT needs beside a ViT's: checks, the choice of implementation, results. No arithmetic.

As in ops.py, every one takes `options` and `name`; the plain meaning is in tnt_reference.py.
"""

import torch
from torch import Tensor

from . import checks, custom_ops, reference, tnt_reference
from .ops import Tokens, patch_embed
from .options import DEFAULT, Options
from .weights import InnerEmbedWeights, InnerProjectionWeights, InnerWeights, NormWeights, PatchWeights, pack


def tnt_embed(pixels: Tensor, weights: InnerEmbedWeights, *, options: Options = DEFAULT, name: str = "words") -> Tensor:
    """Images to words: a patch's window of pixels into the words of the patch, in one product.

    Args:
        pixels: uint8 (B, H, W, 3) for folded weights; already normalised pixels of the weight's dtype otherwise.
        weights: with `weight` (W · d, window² · 3) and `table` (P, W · d).

    Returns:
        (B, P, W · d) in the weight's dtype: a patch's words side by side, in row-major order.

    Source: Han et al., arXiv 2103.00112, section 2; that its convolutions are a product per patch is ours.
    """
    size, window = weights.patch_size, weights.window
    if window == size:
        patches = PatchWeights(weights.weight, weights.table, size, 0)
        return patch_embed(pixels, patches, options=options, name=name)[0]
    checks.shape("pixels", pixels, "B", "H", "W", 3)
    checks.dtype("pixels", pixels, torch.uint8, weights.weight.dtype)
    checks.divides("patch_size", size, "the image's height", pixels.shape[1])
    checks.divides("patch_size", size, "the image's width", pixels.shape[2])
    checks.shape("weight", weights.weight, "W · d", window**2 * 3)
    patches_in_all = (pixels.shape[1] // size) * (pixels.shape[2] // size)
    checks.shape("table", weights.table, patches_in_all, weights.weight.shape[0])
    if not options.uses_triton(pixels) or pixels.dtype != torch.uint8:
        return tnt_reference.tnt_embed(pixels, weights)
    shape = (pixels.shape[0], patches_in_all, weights.weight.shape[0])
    out = options.empty(name, shape, weights.weight.dtype, pixels.device)
    custom_ops.tnt_embed(
        pixels, weights.weight, weights.table, size, weights.margin, window, out, options.batch_invariant
    )
    return out


def tnt_inner(words: Tensor, weights: InnerWeights, *, options: Options = DEFAULT, name: str = "rows") -> Tensor:
    """All inner blocks of a TNT, and after each the row of words that its projection reads, normalised.

    Words never read patch tokens, so all blocks can run before the first token is there.

    Args:
        words: (M, W · d): of every patch of every image, its W words of d channels.

    Returns:
        (1 + L, M, W · d) in words' dtype: the input and the words after each block, without mean and of variance one
        over the row (over each word where the weights say `per_token`, except in the input).

    Source: Han et al., arXiv 2103.00112, equations 4 to 6; that the inner blocks run ahead is ours.
    """
    _check_inner(words, weights)
    if not options.uses_triton(words):
        return tnt_reference.tnt_inner(words, weights)
    rows = options.empty(name, (1 + weights.depth, *words.shape), words.dtype, words.device)
    _launch_inner(words, weights, 0, weights.depth, rows, None, options)
    return rows


def tnt_inner_block(
    words: Tensor, weights: InnerWeights, index: int, *, options: Options = DEFAULT, name: str = "inner"
) -> tuple[Tensor, Tensor]:
    """One inner block in a launch of its own, as every other implementation has it: what running ahead is held against.

    Args:
        words: (M, W · d), before block `index`.

    Returns:
        The words after the block, and the row that its projection reads, each (M, W · d).
    """
    _check_inner(words, weights)
    if not options.uses_triton(words):
        x = tnt_reference.inner_block(words.unflatten(1, (-1, weights.dim)), weights, index)
        return x.flatten(1), tnt_reference.outgoing(x, weights)
    rows = options.empty(f"{name}.rows", (1, *words.shape), words.dtype, words.device)
    state = options.empty(f"{name}.{index % 2}", tuple(words.shape), words.dtype, words.device)
    _launch_inner(words, weights, index, index + 1, rows, state, options)
    return state, rows[0]


def tnt_inner_part(
    words: Tensor, weights: InnerWeights, first: int, last: int, *, options: Options = DEFAULT, name: str = "part"
) -> tuple[Tensor, Tensor]:
    """Inner blocks `first` to `last` (without it) in one launch: what runs beside the outer stack, part after part.

    Args:
        words: (M, W · d), before block `first`: of the weights' dtype, or as the part before has left them.

    Returns:
        The words after the last of these blocks, (M, W · d), float32 from our kernel, so that parts compute what one
        launch would; and as of `tnt_inner`, (last - first, M, W · d), with the input's in front where `first` is 0.
    """
    begins = int(first == 0)
    _check_inner(words, weights, torch.float32)
    if not options.uses_triton(words):
        x, rows = words.unflatten(1, (-1, weights.dim)), [tnt_reference.standardise(words, weights.eps)][:begins]
        for index in range(first, last):
            x = tnt_reference.inner_block(x, weights, index)
            rows.append(tnt_reference.outgoing(x, weights))
        return x.flatten(1), torch.stack(rows)
    shape, dtype = tuple(words.shape), weights.qkv.dtype
    out = options.empty(f"{name}.rows.{first}", (begins + last - first, *shape), dtype, words.device)
    state = options.empty(f"{name}.{first}", shape, torch.float32, words.device)
    _launch_inner(words, weights, first, last, out, state, options)
    return state, out


def _check_inner(words: Tensor, weights: InnerWeights, *others: torch.dtype) -> None:
    """`others`: dtypes that words may have beside the weights'."""
    checks.shape("words", words, "M", "W · d")
    checks.dtype("words", words, *checks.FLOATS)
    if words.dtype not in others:
        checks.same("qkv", weights.qkv, "words", words)
    checks.divides("the weights' width", weights.dim, "the channels of words", words.shape[1])
    checks.divides("heads", weights.heads, "the weights' width", weights.dim)


def _launch_inner(
    words: Tensor, weights: InnerWeights, first: int, last: int, rows: Tensor, state: Tensor | None, options: Options
) -> None:
    count = words.shape[1] // weights.dim
    if count < 16 or count & (count - 1):
        raise ValueError(
            f"the Triton kernel takes 16, 32, 64, … words a patch, not {count}; use the torch implementation"
        )
    packed = weights.packed or pack(weights)
    custom_ops.tnt_inner(
        words,
        *packed.tensors(first, last),
        packed.heads,
        weights.dim,
        weights.eps,
        weights.per_token,
        rows,
        state,
        options.batch_invariant,
    )


def tnt_project(
    rows: Tensor, weights: InnerProjectionWeights, *, options: Options = DEFAULT, name: str = "additions"
) -> Tensor:
    """What each block's words add to the patch tokens, one product for all blocks: (G, M, K) -> (G, M, D)."""
    checks.shape("rows", rows, "G", "M", "K")
    checks.dtype("rows", rows, *checks.FLOATS)
    checks.shape("weight", weights.weight, rows.shape[0], "D", rows.shape[2])
    checks.same("weight", weights.weight, "rows", rows)
    checks.shape("bias", weights.bias, rows.shape[0], weights.weight.shape[1])
    if not options.uses_triton(rows):
        return tnt_reference.tnt_project(rows, weights.weight, weights.bias)
    out = options.empty(name, (*rows.shape[:2], weights.weight.shape[1]), rows.dtype, rows.device)
    custom_ops.tnt_project(rows, weights.weight, weights.bias, out, options.batch_invariant)
    return out


def tnt_add(
    x: Tensor,
    rows: Tensor,
    norm: NormWeights | None,
    *,
    return_statistics: bool = False,
    options: Options = DEFAULT,
    name: str = "told",
) -> Tokens:
    """Patch tokens plus what their words add, normalised first where a norm is given; tokens before them stay.

    Args:
        x: (B, N, D) tokens, or a table (N, D) for every image.
        rows: (B, P, D), for the last P tokens.
        norm: of D channels, or None.
        return_statistics: also the row statistics of the result.

    Returns:
        (B, N, D) in the dtype of `rows`, and row statistics (parts, 2, B · N) or None.
    """
    checks.shape("rows", rows, "B", "P", "D")
    checks.dtype("rows", rows, *checks.FLOATS)
    table = x.ndim == 2
    checks.shape("x", x, *(("N", rows.shape[2]) if table else (rows.shape[0], "N", rows.shape[2])))
    if x.shape[-2] < rows.shape[1]:
        raise ValueError(f"x has {x.shape[-2]} tokens, fewer than the {rows.shape[1]} rows to add to them")
    if not options.uses_triton(rows):
        y = tnt_reference.tnt_add(x, rows, norm)
        return y, reference.row_statistics(y.flatten(0, 1)) if return_statistics else None
    images, tokens, dim = rows.shape[0], x.shape[-2], rows.shape[2]
    out = options.empty(name, (images, tokens, dim), rows.dtype, rows.device)
    out_statistics = options.statistics_buffer(return_statistics, name, images * tokens, dim, dim, rows.device)
    affine = (norm.weight, norm.bias, norm.eps) if norm is not None else (None, None, 0.0)
    custom_ops.tnt_add(x, rows, *affine, out, out_statistics)
    return out, out_statistics

"""Operators that TNT needs in addition to those of a ViT: argument checks, choice of implementation, output buffers.

Conventions are those of ops.py; each operator is defined by plain PyTorch in tnt_reference.py. Inner tokens are the
"words" of the paper, patch tokens its "sentences".
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import checks, custom_ops, reference, tnt_reference
from .ops import Tokens, patch_embed
from .options import DEFAULT, Options
from .tuning.heuristics import next_power_of_two
from .weights import (
    CHUNK,
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    NormWeights,
    PackedInnerWeights,
    PatchWeights,
)


def tnt_embed(
    pixels: Tensor, weights: InnerEmbedWeights, *, options: Options = DEFAULT, name: str = "tnt_embed"
) -> Tensor:
    """Embedding of inner tokens: each patch's window of pixels into the tokens of the patch, as one GEMM.

    Args:
        pixels: uint8 (B, H, W, 3) for folded weights; normalised pixels of the weight's dtype otherwise.
        weights: with `weight` (W · d, window² · 3) and `table` (P, W · d).

    Returns:
        (B, P, W · d) in the weight's dtype: a patch's inner tokens side by side, in row-major order.

    Source: Han et al., arXiv 2103.00112, section 2; its convolutions as one GEMM per patch are ours.
    """
    size, window = weights.patch_size, weights.window
    if window == size:
        patches = PatchWeights(weights.weight, weights.table, size, 0)
        return patch_embed(pixels, patches, options=options, name=name)[0]
    count = checks.patches(pixels, weights.weight, size)
    checks.shape("weight", weights.weight, "W · d", window**2 * 3)
    checks.shape("table", weights.table, count, len(weights.weight))
    if not options.uses_triton(pixels) or pixels.dtype != torch.uint8:
        return tnt_reference.tnt_embed(pixels, weights)
    out = options.empty(name, (len(pixels), count, len(weights.weight)), weights.weight.dtype, pixels.device)
    custom_ops.tnt_embed(
        pixels, weights.weight, weights.table, size, weights.margin, window, out, options.batch_invariant
    )
    return out


def tnt_inner(x: Tensor, weights: InnerWeights, *, options: Options = DEFAULT, name: str = "tnt_inner") -> Tensor:
    """Run all inner blocks of a TNT ahead of the outer ones, in one launch.

    Inner tokens never read patch tokens, so the inner blocks need not wait for the outer ones.

    Args:
        x: (M, W · d): the W inner tokens of d channels of each of M patches.

    Returns:
        (1 + L, M, W · d) in x's dtype: inputs of the 1 + L projections onto patch tokens. These are x and the output of
        each block, each row standardised (of zero mean and unit variance); with `per_token`, each token standardised,
        except in x.

    Source: Han et al., arXiv 2103.00112, equations 4 to 6; running the inner blocks ahead is ours.
    """
    _check_inner(x, weights)
    if not options.uses_triton(x):
        return tnt_reference.tnt_inner(x, weights)
    rows = options.empty(name, (1 + weights.depth, *x.shape), x.dtype, x.device)
    _launch_inner(x, weights, 0, weights.depth, rows, None, options)
    return rows


def tnt_inner_block(
    x: Tensor, weights: InnerWeights, index: int, *, options: Options = DEFAULT, name: str = "tnt_inner_block"
) -> tuple[Tensor, Tensor]:
    """One inner block per launch, as in other implementations: the baseline of `tnt_inner`.

    Args:
        x: (M, W · d), input of block `index`.

    Returns:
        Output of the block, and the input of its projection; each (M, W · d).
    """
    _check_inner(x, weights)
    if not options.uses_triton(x):
        y = tnt_reference.inner_block(x.unflatten(1, (-1, weights.dim)), weights, index)
        return y.flatten(1), tnt_reference.projection_input(y, weights)
    rows = options.empty(f"{name}.rows", (1, *x.shape), x.dtype, x.device)
    state = options.empty(f"{name}.{index % 2}", tuple(x.shape), x.dtype, x.device)
    _launch_inner(x, weights, index, index + 1, rows, state, options)
    return state, rows[0]


def tnt_inner_part(
    x: Tensor,
    weights: InnerWeights,
    first: int,
    last: int,
    *,
    options: Options = DEFAULT,
    name: str = "tnt_inner_part",
) -> tuple[Tensor, Tensor]:
    """Run inner blocks `first` to `last` (exclusive) in one launch, to overlap with the outer stack part by part.

    Args:
        x: (M, W · d), input of block `first`: in the weights' dtype, or the state that the previous part returned.

    Returns:
        State after the last of these blocks, (M, W · d), float32 from the Triton kernel, so that parts compute what one
        launch does; and inputs of their projections as of `tnt_inner`, (last - first, M, W · d), preceded by that of x
        where `first` is 0.
    """
    with_input = int(first == 0)
    _check_inner(x, weights, torch.float32)
    if not options.uses_triton(x):
        y, rows = x.unflatten(1, (-1, weights.dim)), [tnt_reference.standardise(x, weights.eps)][:with_input]
        for index in range(first, last):
            y = tnt_reference.inner_block(y, weights, index)
            rows.append(tnt_reference.projection_input(y, weights))
        return y.flatten(1), torch.stack(rows)
    shape, dtype = tuple(x.shape), weights.qkv.dtype
    out = options.empty(f"{name}.rows.{first}", (with_input + last - first, *shape), dtype, x.device)
    state = options.empty(f"{name}.{first}", shape, torch.float32, x.device)
    _launch_inner(x, weights, first, last, out, state, options)
    return state, out


def _check_inner(x: Tensor, weights: InnerWeights, *others: torch.dtype) -> None:
    """Check the inputs of inner blocks. `others`: dtypes of x that are allowed in addition to the weights'."""
    checks.shape("x", x, "M", "W · d")
    checks.dtype("x", x, *checks.FLOATS)
    if x.dtype not in others:
        checks.same("qkv", weights.qkv, "x", x)
    checks.divides("the weights' width", weights.dim, "the channels of x", x.shape[1])
    checks.divides("heads", weights.heads, "the weights' width", weights.dim)


def _launch_inner(
    x: Tensor, weights: InnerWeights, first: int, last: int, rows: Tensor, state: Tensor | None, options: Options
) -> None:
    count = x.shape[1] // weights.dim
    if count < 16 or count & (count - 1):
        raise ValueError(
            f"the Triton kernel takes 16, 32, 64, … inner tokens per patch, not {count}; use the torch implementation"
        )
    packed = weights.packed or pack_inner(weights)
    custom_ops.tnt_inner(
        x,
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
    rows: Tensor, weights: InnerProjectionWeights, *, options: Options = DEFAULT, name: str = "tnt_project"
) -> Tensor:
    """Project the inner tokens of all blocks onto patch tokens, as one grouped GEMM.

    Args:
        rows: (G, M, W · d), as of `tnt_inner`.
        weights: with `weight` (G, D, W · d) and `bias` (G, D).

    Returns:
        (G, M, D) in the dtype of `rows`: for each block, what `tnt_add` adds to the patch tokens.
    """
    checks.shape("rows", rows, "G", "M", "W · d")
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
    name: str = "tnt_add",
) -> Tokens:
    """Add projected inner tokens to the patch tokens, through a LayerNorm where there is one; prefix tokens stay.

    Args:
        x: (B, N, D) tokens, or a table (N, D) for every image.
        rows: (B, P, D), for the last P tokens.
        norm: of D channels, or None.
        return_statistics: also return the row statistics of the result.

    Returns:
        (B, N, D) in the dtype of `rows`, and row statistics (1, 2, B · N) or None.
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
    out = options.empty(name, (rows.shape[0], x.shape[-2], rows.shape[2]), rows.dtype, rows.device)
    out_statistics = options.statistics_buffer(return_statistics, name, out, rows.shape[2])
    affine = (norm.weight, norm.bias, norm.eps) if norm is not None else (None, None, 0.0)
    custom_ops.tnt_add(x, rows, *affine, out, out_statistics)
    return out, out_statistics


def pack_inner(weights: InnerWeights) -> PackedInnerWeights:
    """InnerWeights in the layout of the kernel `tnt_inner`."""
    heads, dim = weights.heads, weights.dim
    width = next_power_of_two(max(dim // heads, 8))
    count = max(next_power_of_two(heads), -(-16 // width))
    channels = next_power_of_two(max(dim, 16))
    hidden = -(-weights.expand.shape[1] // CHUNK) * CHUNK

    def pad_heads(x: Tensor) -> Tensor:  # (…, h · d) -> (…, E)
        by_head = x.unflatten(-1, (heads, -1))
        return F.pad(by_head, (0, width - by_head.shape[-1], 0, count - heads)).flatten(-2)

    qkv = torch.stack(weights.qkv.chunk(3, dim=1), dim=1).transpose(2, 3)  # (L, 3, D, h · d)
    return PackedInnerWeights(
        qkv=_padded(pad_heads(qkv), channels, count * width),
        query_bias=pad_heads(weights.query_bias).contiguous(),
        projection=_padded(pad_heads(weights.projection).transpose(1, 2), count * width, channels),
        projection_bias=_padded(weights.projection_bias, channels),
        expand=_padded(weights.expand.transpose(1, 2), channels, hidden),
        expand_bias=_padded(weights.expand_bias, hidden),
        contract=_padded(weights.contract.transpose(1, 2), hidden, channels),
        contract_bias=_padded(weights.contract_bias, channels),
        heads=count,
    )


def _padded(x: Tensor, *sizes: int) -> Tensor:
    """Zero-pad the last dimensions to these sizes."""
    missing = [size - length for size, length in zip(sizes, x.shape[-len(sizes) :], strict=True)]
    return F.pad(x, [part for more in reversed(missing) for part in (0, more)]).contiguous()

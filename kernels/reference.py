"""Reference implementation of every operator in plain PyTorch: the kernels' specification, and what CPUs run.

Dimensions: B images, N tokens, D channels, h heads of d channels, M rows, K input and O output channels, G groups. Row
statistics are float32 (parts, 2, M): mean and sum of squared deviations of each run of `part_width(D, parts)` channels,
so that a kernel can store one part per tile (merged as in Chan, Golub, LeVeque 1983); operators here store one part.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .resampling import taps, vertical_first
from .resize_plan import Crop
from .weights import NormWeights


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Accumulation dtype around a GEMM: float32, or float64 for float64 tensors."""
    return torch.promote_types(dtype, torch.float32)


def normalise(pixels: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """Normalise pixels: (pixels / 255 - mean) / std, channels first.

    Args:
        pixels: uint8 (B, H, W, 3).
        mean, std: float32 (3,), in units of the pixel range 0..1.
        dtype: of the result; the arithmetic is float32 (float64 for a float64 result).

    Returns:
        (B, 3, H, W) of `dtype`, contiguous.
    """
    acc_dtype = accumulation_dtype(dtype)
    x = pixels.permute(0, 3, 1, 2).to(acc_dtype, memory_format=torch.contiguous_format) / 255
    return ((x - mean.to(acc_dtype)[:, None, None]) / std.to(acc_dtype)[:, None, None]).to(dtype)


def patch_embed(pixels: Tensor, weight: Tensor, table: Tensor, patch_size: int, prefix: int) -> Tensor:
    """Patch embedding: projected patches plus the table, after the prefix tokens: (B, H, W, 3) -> (B, N, D)."""
    rows = pixels.unflatten(2, (-1, patch_size)).unflatten(1, (-1, patch_size))  # (B, rows, p, columns, p, 3)
    patches = rows.transpose(2, 3).flatten(3).flatten(1, 2).to(weight.dtype)
    tokens = (F.linear(patches, weight).to(table.dtype) + table[prefix:]).to(weight.dtype)
    if not prefix:
        return tokens
    return torch.cat([table[:prefix].to(weight.dtype).expand(len(tokens), -1, -1), tokens], dim=1)


def part_width(columns: int, parts: int) -> int:
    """Channels per part of row statistics (fewer in the last): all, or the power of two that gives so many parts.

    Raises:
        ValueError: no power of two does.
    """
    width = columns
    if parts > 1:
        width = 1
        while -(-columns // width) > parts:
            width *= 2
    if -(-columns // width) != parts:
        raise ValueError(f"{columns} channels do not split into {parts} parts of a power of two")
    return width


def row_statistics(x: Tensor) -> Tensor:
    """Mean and sum of squared deviations of each row: (M, D) -> (1, 2, M)."""
    values = x.to(accumulation_dtype(x.dtype))
    mean = values.mean(dim=1, keepdim=True)
    return torch.stack([mean[:, 0], (values - mean).square().sum(dim=1)])[None]


def mean_and_rstd(statistics: Tensor, columns: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(variance + eps) of each row, (M,) each, from row statistics (parts, 2, M)."""
    parts = len(statistics)
    counts = torch.full((parts, 1), float(part_width(columns, parts)), dtype=statistics.dtype, device=statistics.device)
    counts[-1] = columns - (parts - 1) * counts[0]
    means, squares = statistics.unbind(dim=1)
    mean = (means * counts).sum(dim=0) / columns
    variance = (squares + counts * (means - mean).square()).sum(dim=0) / columns
    return mean, (variance + eps).rsqrt()


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm over the last dimension (arXiv 1607.06450)."""
    return F.layer_norm(x, x.shape[-1:], weight.to(x.dtype), bias.to(x.dtype), eps)


def activate(x: Tensor, activation: str) -> Tensor:
    """Activation: `none`, exact (erf) `gelu`, `quick_gelu`, or `swiglu` on pairs (gate, value) of adjacent channels."""
    match activation:
        case "none":
            return x
        case "gelu":
            return F.gelu(x)
        case "quick_gelu":
            return x * torch.sigmoid(1.702 * x)
        case "swiglu":
            gate, value = x.unflatten(-1, (-1, 2)).unbind(dim=-1)
            return F.silu(gate) * value
        case _:
            raise ValueError(f"activation {activation!r} is not one of none, gelu, quick_gelu, swiglu")


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    sums: Tensor | None = None,
    statistics: Tensor | None = None,
    eps: float = 0.0,
    activation: str = "none",
    residual: Tensor | None = None,
) -> Tensor:
    """Linear layer: activation(x · weightᵀ + bias) + residual; with `sums` a folded LayerNorm: (M, K) -> (M, O)."""
    if sums is None:
        y = activate(F.linear(x, weight, None if bias is None else bias.to(x.dtype)), activation)
        return y if residual is None else residual + y
    assert statistics is not None
    acc_dtype = accumulation_dtype(x.dtype)
    mean, rstd = mean_and_rstd(statistics, x.shape[1], eps)
    y = (F.linear(x.to(acc_dtype), weight.to(acc_dtype)) - mean[:, None] * sums) * rstd[:, None]
    y = activate(y if bias is None else y + bias, activation)
    return (y if residual is None else y + residual).to(x.dtype)


def grouped_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Grouped linear layer, one weight per group: (M, G, K), (G, O, K) -> (M, G, O)."""
    return torch.bmm(x.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1).contiguous()


def attention(
    qkv: Tensor, heads: int, query_norm: NormWeights | None = None, key_norm: NormWeights | None = None
) -> Tensor:
    """Softmax attention over packed Q, K and V (arXiv 1706.03762), with optional QK-norm (arXiv 2302.05442).

    Args:
        qkv: (B, N, 3 · h · d), channels as (Q, K, V), each as (head, channel).

    Returns:
        (B, N, h · d).
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, h, N, d)
    if query_norm is not None:
        q = layer_norm(q, query_norm.weight, query_norm.bias, query_norm.eps)
    if key_norm is not None:
        k = layer_norm(k, key_norm.weight, key_norm.bias, key_norm.eps)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def class_attention(queries: Tensor, x: Tensor, statistics: Tensor | None, eps: float, scale: float) -> Tensor:
    """Attention of absorbed queries over normalised tokens, which serve as keys and as values.

    Args:
        queries: (B, Q, D), Q the query rows times heads: each query multiplied by its head's key projection.
        x: (B, N, D): normalised tokens, or raw tokens with their row statistics (parts, 2, B · N).
        scale: on the scores.

    Returns:
        (B, Q, D), attention-weighted sums of tokens, before each head's value projection.
    """
    if statistics is None:
        weights = (torch.matmul(queries, x.transpose(1, 2)) * scale).softmax(dim=-1)
        return torch.matmul(weights, x)
    acc_dtype = accumulation_dtype(x.dtype)
    mean, rstd = (value.view(len(x), -1, 1) for value in mean_and_rstd(statistics, x.shape[2], eps))
    tokens = (x.to(acc_dtype) - mean) * rstd
    weights = (torch.matmul(queries.to(acc_dtype), tokens.transpose(1, 2)) * scale).softmax(dim=-1)
    return torch.matmul(weights, tokens).to(x.dtype)


def mean_pool(x: Tensor, prefix: int, statistics: Tensor | None = None, eps: float = 0.0) -> Tensor:
    """Mean over the patch tokens, each normalised first if row statistics are given: (B, N, D) -> (B, D)."""
    acc_dtype = accumulation_dtype(x.dtype)
    tokens = x.to(acc_dtype)
    if statistics is not None:
        mean, rstd = (value.view(len(x), -1, 1) for value in mean_and_rstd(statistics, x.shape[2], eps))
        tokens = (tokens - mean) * rstd
    return tokens[:, prefix:].mean(dim=1).to(x.dtype)


def resize_crop(packed: Tensor, crops: Sequence[Crop], size: int, interpolation: str) -> Tensor:
    """Pillow's resize and a square crop of packed images (height, width, 3) -> (B, size, size, 3)."""
    squares = []
    for crop, image in zip(crops, packed.split([crop.bytes for crop in crops]), strict=True):
        lines = image.view(crop.source[1], crop.source[0], 3)
        for side in (0, 1) if vertical_first(crop.source, crop.resized) else (1, 0):
            axis = 1 - side  # sizes are (width, height)
            entry = taps(crop.source[axis], crop.resized[axis], crop.corner[axis], size, interpolation)
            lines = resize_pass(lines, torch.tensor(entry.table, device=packed.device), side)
        squares.append(lines)
    return torch.stack(squares)


def resize_pass(image: Tensor, table: Tensor, side: int) -> Tensor:
    """One of Pillow's two passes over bytes (height, width, 3), along side 0 or 1; `table` of `resampling.Taps`."""
    lines = image.movedim(side, 0).int()
    acc = torch.full((table.shape[1], *lines.shape[1:]), 1 << 21, dtype=torch.int32, device=image.device)
    for tap, weights in enumerate(table[1:]):
        acc += weights[:, None, None] * lines[(table[0] + tap).clamp(max=len(lines) - 1)]
    return (acc >> 22).clamp(0, 255).to(torch.uint8).movedim(0, side)

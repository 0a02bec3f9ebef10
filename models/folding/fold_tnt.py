"""Folding of a TNT by exact algebra on its weights: all inner blocks run before the outer stack.

The outer stack is folded as a ViT (`fold_vit`), the inner blocks into the layout of their operator. Folding computes
weights only; no forward pass is run.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.weights import (
    MATRICES,
    VECTORS,
    AbsorbedAttention,
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    NormWeights,
    PatchWeights,
)
from ..config import TNTConfig, ViTConfig
from ..networks.layers import Attention, EncoderBlock
from ..networks.tnt import TNT, SubPatchEmbedding, TNTBlock, WordProjection
from .fold_vit import ALL_STEPS, Steps, apply_steps, as_float64, block_weights, linear_weights, norm_weights
from .graph import FoldedTNT, FoldedViT, PixelNormalisation
from .lower import Lowering, lower_tnt

CONVOLUTION_SIZE, MARGIN = 7, 3
"""Side and padding of TNT's sub-patch convolution, in pixels."""


def fold_tnt(
    network: TNT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ALL_STEPS,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> FoldedTNT:
    """Folded graph over uint8 pixels of a published TNT with its preprocessing. Arguments as `fold_vit`."""
    with torch.no_grad():
        graph = tnt_graph(network, mean, std)
        if steps.pixels:
            graph = fold_pixels(graph)
        if steps.inner_attention:
            graph = replace(graph, inner_blocks=absorb_inner_attention(graph.inner_blocks))
        graph = replace(graph, outer=apply_steps(replace(steps, pixels=False), graph.outer))
        return lower_tnt(Lowering(dtype, torch.device(device)), graph)


def tnt_graph(network: TNT, mean: Sequence[float], std: Sequence[float]) -> FoldedTNT:
    """Graph of a published network before any step, inner blocks first: float64 on the CPU."""
    config = network.config
    blocks = [block for block in network.blocks if isinstance(block, TNTBlock)]
    table = torch.zeros(config.tokens, config.dim, dtype=torch.float64)
    if network.outer_position is not None:
        table += as_float64(network.outer_position)
    table[:1] += as_float64(network.class_token)
    products = [network.sentence, *(block.to_outer for block in blocks)]
    pixels = PixelNormalisation(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    return FoldedTNT(
        config=config,
        pixels=pixels,
        inner_embedding=_inner_embedding(network),
        inner_blocks=_inner_blocks([block.inner for block in blocks], config),
        inner_projections=_inner_projections(products),
        projection_norms=tuple(_output_norm(product) for product in products),
        table=table,
        outer=_outer(network, [block.outer for block in blocks], pixels),
    )


def fold_pixels(graph: FoldedTNT) -> FoldedTNT:
    """Fold pixel normalisation into the embedding: the factor into its weight; `lower_tnt` subtracts the shift."""
    factor = (1 / (255 * graph.pixels.std)).repeat(graph.inner_embedding.window**2)
    return replace(
        graph,
        pixels=replace(graph.pixels, folded=True),
        inner_embedding=replace(graph.inner_embedding, weight=graph.inner_embedding.weight * factor),
    )


def absorb_inner_attention(x: InnerWeights) -> InnerWeights:
    """Absorb K and V of every inner block into its query and projection, as `cut_last_block` does for one row."""
    query, key, value = (part.unflatten(1, (x.heads, -1)) for part in x.qkv.chunk(3, dim=1))  # each (L, h, d', d)
    biases = x.query_bias.unflatten(1, (x.heads, -1))
    projection = x.projection.unflatten(2, (x.heads, -1))  # (L, d, h, d')
    absorbed = AbsorbedAttention(
        query=torch.einsum("lhcy,lhcx->lhyx", key, query).flatten(1, 2),
        query_bias=torch.einsum("lhcy,lhc->lhy", key, biases).flatten(1),
        output=torch.einsum("lohc,lhcx->lohx", projection, value).flatten(2),
    )
    return replace(x, absorbed=absorbed)


def _inner_embedding(network: TNT) -> InnerEmbedWeights:
    config = network.config
    embedding = network.sub_patch_embedding
    weight, bias = _dense(embedding, config)
    if network.inner_position is not None:
        bias = bias + as_float64(network.inner_position).flatten()
    margin = MARGIN if embedding.form == "image_convolution" else 0
    window = _window(config)
    return InnerEmbedWeights(weight, bias.repeat(config.grid**2, 1), config.patch_size, margin, window)


def _window(config: TNTConfig) -> int:
    """Side in pixels of the window that a patch's inner tokens read."""
    if config.sub_patch_embedding != "image_convolution":
        return config.patch_size
    return config.patch_size - config.sub_patch_size + CONVOLUTION_SIZE


def _dense(embedding: SubPatchEmbedding, config: TNTConfig) -> tuple[Tensor, Tensor]:
    """Embedding of one window as a product: (W · d, window² · 3), pixels as (y, x, channel), and its bias (W · d)."""
    window = _window(config)
    units = torch.eye(window**2 * 3, dtype=torch.float64).unflatten(1, (window, window, 3)).permute(0, 3, 1, 2)
    projection = embedding.projection
    assert projection.bias is not None
    weight, bias = as_float64(projection.weight), as_float64(projection.bias)
    stride = config.sub_patch_size
    if isinstance(projection, nn.Linear):
        weight = weight.unflatten(1, (stride, stride, 3)).permute(0, 3, 1, 2)
    padding = MARGIN if embedding.form == "convolution" else 0
    words = F.conv2d(units, weight, stride=stride, padding=padding)  # (window² · 3, d, rows, columns)
    return words.flatten(2).transpose(1, 2).flatten(1).T.contiguous(), bias.repeat(config.words)


def _inner_blocks(blocks: Sequence[EncoderBlock], config: TNTConfig) -> InnerWeights:
    parts = [_inner_block(block, config) for block in blocks]
    names = (*MATRICES, *VECTORS)
    stacked: dict[str, Any] = {name: torch.stack([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **stacked)


def _inner_block(block: EncoderBlock, config: TNTConfig) -> InnerWeights:
    """Weights of one inner block. K's bias cancels in the softmax; V's adds once, as the softmax sums to one."""
    attention = block.attention
    assert isinstance(attention, Attention)
    qkv, biases = _absorbed(attention.qkv, block.attention_norm)
    query_bias, _, value_bias = biases.chunk(3)
    scale = 1 / math.sqrt(config.inner_dim // config.inner_heads)
    query, key, value = qkv.chunk(3)
    projection = as_float64(attention.projection.weight)
    expand, expand_bias = _absorbed(block.mlp.expand, block.mlp_norm)
    return InnerWeights(
        qkv=torch.cat([query * scale, key, value]),
        query_bias=query_bias * scale,
        projection=projection,
        projection_bias=as_float64(attention.projection.bias) + projection @ value_bias,
        expand=expand,
        expand_bias=expand_bias,
        contract=as_float64(block.mlp.contract.weight),
        contract_bias=as_float64(block.mlp.contract.bias),
        heads=config.inner_heads,
        eps=config.norm_eps,
        per_token=not config.normalise_projection,
    )


def _inner_projections(products: Sequence[WordProjection]) -> InnerProjectionWeights:
    parts = [_absorbed(product.projection, product.norm) for product in products]
    weight, bias = (torch.stack(part) for part in zip(*parts, strict=True))
    return InnerProjectionWeights(weight, bias)


def _absorbed(layer: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Linear layer with the LayerNorm's weight and bias absorbed; a norm per word repeats over the words of a row."""
    weight = as_float64(layer.weight)
    repeats = layer.in_features // norm.normalized_shape[0]
    factor, shift = as_float64(norm.weight).repeat(repeats), as_float64(norm.bias).repeat(repeats)
    bias = weight @ shift
    return weight * factor, bias if layer.bias is None else bias + as_float64(layer.bias)


def _output_norm(product: WordProjection) -> NormWeights | None:
    return norm_weights(product.output_norm) if isinstance(product.output_norm, nn.LayerNorm) else None


def outer_config(config: TNTConfig) -> ViTConfig:
    """Configuration of the outer stack as a ViT."""
    return ViTConfig(
        image_size=config.image_size,
        patch_size=config.patch_size,
        dim=config.dim,
        depth=config.depth,
        heads=config.heads,
        mlp_dim=config.mlp_dim,
        num_classes=config.num_classes,
        qkv_bias=config.qkv_bias,
        norm_eps=config.norm_eps,
    )


def _outer(network: TNT, blocks: Sequence[EncoderBlock], pixels: PixelNormalisation) -> FoldedViT:
    """Outer stack and head as the graph of a ViT."""
    none = torch.zeros(0, 0, dtype=torch.float64)
    norm = norm_weights(network.norm)
    heads = (replace(linear_weights(network.head), norm=norm),) if isinstance(network.head, nn.Linear) else ()
    return FoldedViT(
        config=outer_config(network.config),
        pixels=pixels,
        patches=PatchWeights(none, none, network.config.patch_size, 1),
        input_norm=None,
        blocks=tuple(block_weights(block) for block in blocks),
        last=None,
        norm=norm,
        heads=heads,
    )

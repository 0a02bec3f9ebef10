"""Folding of a TNT by exact algebra on its weights: all inner blocks run before the outer stack. No torch.

The outer stack is folded as a ViT (`fold_vit`), the inner blocks into the layout of their operator. Folding computes
weights only; no forward pass is run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...kernels.weights import (
    MATRICES,
    VECTORS,
    AbsorbedAttention,
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    LinearWeights,
    NormWeights,
    PatchWeights,
)
from ..config import TNTConfig, ViTConfig
from .fold_vit import ALL_STEPS, Steps, apply_steps, block_weights
from .graph import Array, FoldedTNT, FoldedViT, PixelNormalisation
from .lower import Lowering, lower_tnt
from .named_weights import NamedWeights

CONVOLUTION_SIZE, MARGIN = 7, 3
"""Side and padding of TNT's sub-patch convolution, in pixels."""


def fold_tnt(
    config: TNTConfig,
    weights: Mapping[str, Array],
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ALL_STEPS,
    *,
    dtype: str = "float32",
) -> FoldedTNT[Array]:
    """Folded graph over uint8 pixels of a published TNT with its preprocessing. Arguments as `fold_vit`."""
    graph = tnt_graph(config, weights, mean, std)
    if steps.pixels:
        graph = fold_pixels(graph)
    if steps.inner_attention:
        graph = replace(graph, inner_blocks=absorb_inner_attention(graph.inner_blocks))
    graph = replace(graph, outer=apply_steps(replace(steps, pixels=False), graph.outer))
    return lower_tnt(Lowering(dtype), graph)


def tnt_graph(
    config: TNTConfig, weights: Mapping[str, Array], mean: Sequence[float], std: Sequence[float]
) -> FoldedTNT[Array]:
    """Graph of a published network before any step, inner blocks first, in float64."""
    network = NamedWeights(weights, config.norm_eps)
    blocks = [network.part(f"blocks.{index}") for index in range(config.depth)]
    table = network.array("outer_position") if config.outer_position else np.zeros((config.tokens, config.dim))
    table[:1] += network.array("class_token")
    pixels = PixelNormalisation(np.array(mean, np.float64), np.array(std, np.float64))
    return FoldedTNT(
        config=config,
        pixels=pixels,
        inner_embedding=_inner_embedding(network, config),
        inner_blocks=_inner_blocks([block.part("inner") for block in blocks], config),
        inner_projections=_inner_projections(network, config),
        projection_norms=_projection_norms(network, config),
        table=table,
        outer=_outer(network, config, pixels),
    )


def fold_pixels(graph: FoldedTNT[Array]) -> FoldedTNT[Array]:
    """Fold pixel normalisation into the embedding: the factor into its weight; `lower_tnt` subtracts the shift."""
    factor = np.tile(1 / (255 * graph.pixels.std), graph.inner_embedding.window**2)
    return replace(
        graph,
        pixels=replace(graph.pixels, folded=True),
        inner_embedding=replace(graph.inner_embedding, weight=graph.inner_embedding.weight * factor),
    )


def absorb_inner_attention(x: InnerWeights[Array]) -> InnerWeights[Array]:
    """Absorb K and V of every inner block into its query and projection, as `cut_last_block` does for one row."""
    depth, dim, heads = x.depth, x.dim, x.heads
    query, key, value = x.qkv.reshape(depth, 3, heads, -1, dim).swapaxes(0, 1)  # each (L, h, d', d)
    biases = x.query_bias.reshape(depth, heads, -1, 1)
    projection = x.projection.reshape(depth, dim, heads, -1).swapaxes(1, 2)  # (L, h, d, d')
    absorbed = AbsorbedAttention(
        query=(key.swapaxes(2, 3) @ query).reshape(depth, heads * dim, dim),
        query_bias=(key.swapaxes(2, 3) @ biases).reshape(depth, heads * dim),
        output=(projection @ value).swapaxes(1, 2).reshape(depth, dim, heads * dim),
    )
    return replace(x, absorbed=absorbed)


def _inner_embedding(network: NamedWeights, config: TNTConfig) -> InnerEmbedWeights[Array]:
    bias = np.tile(network.array("sub_patch_embedding.projection.bias"), config.words)
    if config.inner_position:
        bias = bias + network.array("inner_position").flatten()
    return InnerEmbedWeights(
        weight=_dense(network.array("sub_patch_embedding.projection.weight"), config),
        table=np.tile(bias, (config.grid**2, 1)),
        patch_size=config.patch_size,
        margin=MARGIN if config.sub_patch_embedding == "image_convolution" else 0,
        window=_window(config),
    )


def _window(config: TNTConfig) -> int:
    """Side in pixels of the window that a patch's inner tokens read."""
    if config.sub_patch_embedding != "image_convolution":
        return config.patch_size
    return config.patch_size - config.sub_patch_size + CONVOLUTION_SIZE


def _dense(weight: Array, config: TNTConfig) -> Array:
    """Embedding of one window as a product: (W · d, window² · 3), pixels as (y, x, channel)."""
    stride, padding = config.sub_patch_size, MARGIN if config.sub_patch_embedding == "convolution" else 0
    if config.sub_patch_embedding == "linear":
        kernel = weight.reshape(-1, stride, stride, 3)
    else:
        kernel = weight.transpose(0, 2, 3, 1)
    side, length, window = config.patch_size // stride, kernel.shape[1], _window(config)
    padded = window + 2 * padding
    dense = np.zeros((side, side, len(kernel), padded, padded, 3))
    for row, column in np.ndindex(side, side):
        y, x = row * stride, column * stride
        dense[row, column, :, y : y + length, x : x + length] = kernel
    inside = slice(padding, padding + window)
    return dense[:, :, :, inside, inside].reshape(side**2 * len(kernel), window**2 * 3)


def _inner_blocks(blocks: Sequence[NamedWeights], config: TNTConfig) -> InnerWeights[Array]:
    parts = [_inner_block(block, config) for block in blocks]
    names = (*MATRICES, *VECTORS)
    stacked: dict[str, Any] = {name: np.stack([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **stacked)


def _inner_block(block: NamedWeights, config: TNTConfig) -> InnerWeights[Array]:
    """Weights of one inner block. K's bias cancels in the softmax; V's adds once, as the softmax sums to one."""
    qkv, biases = _absorbed(block.linear("attention.qkv", bias=config.qkv_bias, norm="attention_norm"))
    query_bias, _, value_bias = np.split(biases, 3)
    scale = 1 / math.sqrt(config.inner_dim // config.inner_heads)
    query, key, value = np.split(qkv, 3)
    projection = block.array("attention.projection.weight")
    expand, expand_bias = _absorbed(block.linear("mlp.expand", norm="mlp_norm"))
    return InnerWeights(
        qkv=np.concatenate([query * scale, key, value]),
        query_bias=query_bias * scale,
        projection=projection,
        projection_bias=block.array("attention.projection.bias") + projection @ value_bias,
        expand=expand,
        expand_bias=expand_bias,
        contract=block.array("mlp.contract.weight"),
        contract_bias=block.array("mlp.contract.bias"),
        heads=config.inner_heads,
        eps=config.norm_eps,
        per_token=not config.normalise_projection,
    )


def _products(network: NamedWeights, config: TNTConfig) -> list[NamedWeights]:
    """Projections of inner tokens: of the embedded ones, then of each block's."""
    return [network.part("sentence"), *(network.part(f"blocks.{index}.to_outer") for index in range(config.depth))]


def _inner_projections(network: NamedWeights, config: TNTConfig) -> InnerProjectionWeights[Array]:
    legacy = not config.normalise_projection
    parts = [
        _absorbed(product.linear("projection", bias=legacy or index == 0, norm="norm"))
        for index, product in enumerate(_products(network, config))
    ]
    weight, bias = (np.stack(part) for part in zip(*parts, strict=True))
    return InnerProjectionWeights(weight, bias)


def _absorbed(layer: LinearWeights[Array]) -> tuple[Array, Array]:
    """Weight and bias with the LayerNorm's absorbed; a norm per word repeats over the words of a row."""
    assert layer.norm is not None
    repeats = layer.weight.shape[1] // len(layer.norm.weight)
    factor, shift = np.tile(layer.norm.weight, repeats), np.tile(layer.norm.bias, repeats)
    bias = layer.weight @ shift
    return layer.weight * factor, bias if layer.bias is None else bias + layer.bias


def _projection_norms(network: NamedWeights, config: TNTConfig) -> tuple[NormWeights[Array] | None, ...]:
    """LayerNorm after each projection; the legacy form has one after the first only."""
    first, *others = _products(network, config)
    legacy = not config.normalise_projection
    return first.norm("output_norm"), *(None if legacy else other.norm("output_norm") for other in others)


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


def _outer(network: NamedWeights, config: TNTConfig, pixels: PixelNormalisation[Array]) -> FoldedViT[Array]:
    """Outer stack and head as the graph of a ViT."""
    none, outer, norm = np.zeros((0, 0)), outer_config(config), network.norm("norm")
    return FoldedViT(
        config=outer,
        pixels=pixels,
        patches=PatchWeights(none, none, config.patch_size, 1),
        input_norm=None,
        blocks=tuple(block_weights(network.part(f"blocks.{index}.outer"), outer) for index in range(config.depth)),
        last=None,
        norm=norm,
        heads=(replace(network.linear("head"), norm=norm),) if config.num_classes else (),
    )

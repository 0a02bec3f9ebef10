"""Folding of a ViT by exact algebra on its weights, which removes work from the forward pass. No torch.

Each step takes a float64 graph and returns one that computes the same function; `lower` rounds the result. Folding
computes weights only; no forward pass is run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

import numpy as np

from ...kernels.weights import LinearWeights, NormWeights, PatchWeights
from ..config import ViTConfig
from ..networks.position_table import position_table
from .graph import Array, BlockWeights, FoldedViT, LastBlockWeights, PixelNormalisation
from .lower import Lowering
from .named_weights import NamedWeights

X = TypeVar("X")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Folding steps to apply. A step that does not hold for a network changes nothing.

    Attributes:
        pixels: mean, std and 1/255 into the patch projection.
        layer_scale: LayerScale into projection and contract.
        last_block: last block for the pooled rows only, K and V absorbed.
        layer_norm: LayerNorm into the next product.
        key_bias: K bias dropped, as the softmax cancels it.
        inner_attention: K and V of a TNT's inner blocks absorbed, so that inner tokens are their own keys and values.
    """

    pixels: bool = True
    layer_scale: bool = True
    last_block: bool = True
    layer_norm: bool = True
    key_bias: bool = True
    inner_attention: bool = False


ALL_STEPS = Steps()
NO_STEPS = Steps(pixels=False, layer_scale=False, last_block=False, layer_norm=False, key_bias=False)
CPU_STEPS = Steps(layer_norm=False, inner_attention=True)
"""Steps for CPUs, where a separate LayerNorm is faster than a folded one, and few large products than many small."""


def fold_vit(
    config: ViTConfig,
    weights: Mapping[str, Array],
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ALL_STEPS,
    *,
    dtype: str = "float32",
) -> FoldedViT[Array]:
    """Folded graph over uint8 pixels (B, H, W, 3) of a published network with its preprocessing.

    Args:
        weights: state dict of the network, of any floating dtype (bfloat16 as ml_dtypes); not changed.
        mean, std: of the three channels, in units of the pixel range 0..1.
        steps: the steps to apply.
        dtype: of the matrices in the result: `float32`, `bfloat16`, `float16` or `float64`; vectors are float32
            (float64 for float64).

    Raises:
        ValueError: LayerNorm is to be folded for pooling `token_mean`.
        KeyError: the state dict lacks a weight.
    """
    if config.pooling == "token_mean" and steps.layer_norm:
        raise ValueError("LayerNorm is not folded for pooling 'token_mean', which reads the normalised tokens twice")
    return Lowering(dtype).graph(apply_steps(steps, vit_graph(config, weights, mean, std)))


def apply_steps(steps: Steps, graph: FoldedViT[Array]) -> FoldedViT[Array]:
    """Apply the selected steps to a graph, in their order."""
    order: tuple[tuple[bool, Callable[[FoldedViT[Array]], FoldedViT[Array]]], ...] = (
        (steps.pixels, fold_pixels),
        (steps.layer_scale, fold_layer_scale),
        (steps.last_block, cut_last_block),
        (steps.layer_norm, fold_layer_norm),
        (steps.key_bias, drop_key_bias),
    )
    return reduce(lambda folded, step: step(folded), (step for selected, step in order if selected), graph)


def vit_graph(
    config: ViTConfig, weights: Mapping[str, Array], mean: Sequence[float], std: Sequence[float]
) -> FoldedViT[Array]:
    """Graph of a published network before any step, in float64; prefix, positions and bias are a table."""
    network = NamedWeights(weights, config.norm_eps)
    table = position_table(config, weights)
    table[: config.prefix_tokens] += network.array("prefix")
    if config.patch_bias:
        table[config.prefix_tokens :] += network.array("patch_embedding.projection.bias")
    patches = network.array("patch_embedding.projection.weight")
    norm = network.norm("norm")
    return FoldedViT(
        config=config,
        pixels=PixelNormalisation(np.array(mean, np.float64), np.array(std, np.float64)),
        patches=PatchWeights(patches, table, config.patch_size, config.prefix_tokens),
        input_norm=network.norm("input_norm") if config.pre_norm else None,
        blocks=tuple(block_weights(network.part(f"blocks.{index}"), config) for index in range(config.depth)),
        last=None,
        norm=norm,
        heads=_heads(network, config, norm),
    )


def fold_pixels(graph: FoldedViT[Array]) -> FoldedViT[Array]:
    """Fold pixel normalisation into the patch projection.

    (u / 255 - mean) / std is linear in the byte u: its factor goes into the weight, its shift is added by `Lowering`.
    """
    factor = np.tile(1 / (255 * graph.pixels.std), graph.patches.patch_size**2)
    return replace(
        graph,
        pixels=replace(graph.pixels, folded=True),
        patches=replace(graph.patches, weight=graph.patches.weight * factor),
    )


def fold_layer_scale(graph: FoldedViT[Array]) -> FoldedViT[Array]:
    """Fold LayerScale: a factor per channel of a branch is a factor per row of its last product."""
    return replace(
        graph,
        blocks=tuple(
            replace(block, projection=_scaled(block.projection), contract=_scaled(block.contract))
            for block in graph.blocks
        ),
    )


def cut_last_block(graph: FoldedViT[Array]) -> FoldedViT[Array]:
    """Cut the last block to the pooled rows, the only ones read after it, without K and V of any token.

    q · (W_k y) = (W_kᵀ q) · y, and Σ p (W_v y) = W_v Σ p y. The K bias and the norm's bias add the same to every
    score of a query and cancel in the softmax; in V they add once, as Σ p = 1. Not with QK-norm, which acts between
    W_k and q · k.
    """
    if graph.config.pooling != "token" or graph.config.qk_norm or not graph.blocks:
        return graph
    block, heads = graph.blocks[-1], graph.config.heads
    norm = _required(block.qkv.norm)
    w_q, w_k, w_v = np.split(block.qkv.weight, 3)
    value_bias = w_v @ norm.bias
    b_q = None
    if block.qkv.bias is not None:
        b_q, _, b_v = np.split(block.qkv.bias, 3)
        value_bias = value_bias + b_v
    return replace(
        graph,
        blocks=graph.blocks[:-1],
        last=LastBlockWeights(
            query=LinearWeights(w_q, b_q, norm),
            key=(w_k * norm.weight).reshape(heads, -1, graph.config.dim).swapaxes(1, 2),
            value=(w_v * norm.weight).reshape(heads, -1, graph.config.dim),
            projection=_shifted(block.projection, value_bias),
            expand=block.expand,
            contract=block.contract,
            norm=replace(norm, weight=np.ones_like(norm.weight), bias=np.zeros_like(norm.bias)),
        ),
    )


def fold_layer_norm(graph: FoldedViT[Array]) -> FoldedViT[Array]:
    """Fold LayerNorm into the next product: weight into columns, bias into bias; mean and rstd apply after it."""
    heads = graph.heads
    if graph.config.pooling == "mean" and not graph.config.norm_after_pooling:
        heads = tuple(replace(_folded(replace(head, norm=graph.norm)), sums=None) for head in heads)
    last = graph.last and replace(graph.last, query=_folded(graph.last.query), expand=_folded(graph.last.expand))
    return replace(
        graph,
        blocks=tuple(replace(block, qkv=_folded(block.qkv), expand=_folded(block.expand)) for block in graph.blocks),
        last=last,
        heads=tuple(_folded(head) for head in heads),
        layer_norm_folded=True,
    )


def drop_key_bias(graph: FoldedViT[Array]) -> FoldedViT[Array]:
    """Drop the K bias: it adds the same to every score of a query and cancels in the softmax. Not with QK-norm."""
    if graph.config.qk_norm:
        return graph
    return replace(graph, blocks=tuple(replace(block, qkv=_without_key_bias(block.qkv)) for block in graph.blocks))


def block_weights(block: NamedWeights, config: ViTConfig) -> BlockWeights[Array]:
    """Weights of an encoder block, in float64; SwiGLU rows are interleaved."""
    expand = block.linear("mlp.expand", norm="mlp_norm")
    if config.feedforward == "swiglu":
        expand = _interleaved(expand)
    return BlockWeights(
        qkv=block.linear("attention.qkv", bias=config.qkv_bias, norm="attention_norm"),
        projection=_with_scale(block.linear("attention.projection"), block, "attention_scale", config),
        expand=expand,
        contract=_with_scale(block.linear("mlp.contract"), block, "mlp_scale", config),
        query_norm=block.norm("attention.query_norm") if config.qk_norm else None,
        key_norm=block.norm("attention.key_norm") if config.qk_norm else None,
    )


def _heads(network: NamedWeights, config: ViTConfig, norm: NormWeights[Array]) -> tuple[LinearWeights[Array], ...]:
    """Heads on the pooled vector; the average of two halves their weights."""
    if not config.num_classes:
        return ()
    names = ("head", "distillation_head") if config.distillation_token else ("head",)
    norm_is_last = config.pooling == "token" or config.norm_after_pooling
    heads = [network.linear(name) for name in names]
    return tuple(
        LinearWeights(head.weight / len(heads), _required(head.bias) / len(heads), norm if norm_is_last else None)
        for head in heads
    )


def _with_scale(layer: LinearWeights[Array], block: NamedWeights, name: str, config: ViTConfig) -> LinearWeights[Array]:
    return replace(layer, scale=block.array(f"{name}.factor")) if config.layer_scale else layer


def _interleaved(layer: LinearWeights[Array]) -> LinearWeights[Array]:
    """Linear layer with rows (gate…, value…) reordered to (gate, value) pairs, so that a tile holds both of a pair."""
    return replace(layer, weight=_pairs(layer.weight), bias=None if layer.bias is None else _pairs(layer.bias))


def _pairs(x: Array) -> Array:
    """Rows (gate…, value…) -> (gate, value) pairs."""
    return np.stack(np.split(x, 2), axis=1).reshape(x.shape)


def _scaled(layer: LinearWeights[Array]) -> LinearWeights[Array]:
    if layer.scale is None:
        return layer
    bias = None if layer.bias is None else layer.bias * layer.scale
    return replace(layer, weight=layer.weight * layer.scale[:, None], bias=bias, scale=None)


def _shifted(layer: LinearWeights[Array], shift: Array) -> LinearWeights[Array]:
    """Linear layer whose bias makes up for a constant `shift` that its input lacks."""
    bias = layer.weight @ shift
    return replace(layer, bias=bias if layer.bias is None else layer.bias + bias)


def _folded(layer: LinearWeights[Array]) -> LinearWeights[Array]:
    if layer.norm is None:
        return layer
    shifted = _shifted(layer, layer.norm.bias)
    weight = layer.weight * layer.norm.weight
    return replace(shifted, weight=weight, norm=None, sums=weight.sum(axis=1), eps=layer.norm.eps)


def _without_key_bias(layer: LinearWeights[Array]) -> LinearWeights[Array]:
    if layer.bias is None:
        return layer
    query, key, value = np.split(layer.bias, 3)
    return replace(layer, bias=np.concatenate([query, np.zeros_like(key), value]))


def _required(value: X | None) -> X:
    assert value is not None
    return value

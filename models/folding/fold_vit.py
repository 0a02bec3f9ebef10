"""Folding of a ViT by exact algebra on its weights, which removes work from the forward pass.

Each step takes a float64 graph and returns one that computes the same function; `lower` rounds the result. Folding
computes weights only; no forward pass is run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor, nn

from ...kernels.weights import LinearWeights, NormWeights, PatchWeights
from ..networks.layers import Attention, EncoderBlock, LayerScale, SwiGLU
from ..networks.vit import ViT
from .graph import BlockWeights, FoldedViT, LastBlockWeights, PixelNormalisation
from .lower import Lowering

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
    network: ViT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ALL_STEPS,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> FoldedViT:
    """Folded graph over uint8 pixels (B, H, W, 3) of a published network with its preprocessing.

    Args:
        network: any dtype and device; not changed.
        mean, std: of the three channels, in units of the pixel range 0..1.
        steps: the steps to apply.
        dtype: of the matrices in the result; vectors are float32 (float64 for float64).

    Raises:
        ValueError: LayerNorm is to be folded for pooling `token_mean`.
    """
    if network.config.pooling == "token_mean" and steps.layer_norm:
        raise ValueError("LayerNorm is not folded for pooling 'token_mean', which reads the normalised tokens twice")
    with torch.no_grad():
        return Lowering(dtype, torch.device(device)).graph(apply_steps(steps, vit_graph(network, mean, std)))


def apply_steps(steps: Steps, graph: FoldedViT) -> FoldedViT:
    """Apply the selected steps to a graph, in their order."""
    order: tuple[tuple[bool, Callable[[FoldedViT], FoldedViT]], ...] = (
        (steps.pixels, fold_pixels),
        (steps.layer_scale, fold_layer_scale),
        (steps.last_block, cut_last_block),
        (steps.layer_norm, fold_layer_norm),
        (steps.key_bias, drop_key_bias),
    )
    return reduce(lambda folded, step: step(folded), (step for selected, step in order if selected), graph)


def vit_graph(network: ViT, mean: Sequence[float], std: Sequence[float]) -> FoldedViT:
    """Graph of a published network before any step, in float64 on the CPU; prefix, positions and bias are a table."""
    config = network.config
    table = torch.zeros(config.tokens, config.dim, dtype=torch.float64)
    if config.position != "none":
        table += as_float64(network.position_embedding.table())
    table[: config.prefix_tokens] += as_float64(network.prefix)
    projection = network.patch_embedding.projection
    if config.patch_bias:
        table[config.prefix_tokens :] += as_float64(projection.bias)
    norm = norm_weights(network.norm)
    return FoldedViT(
        config=config,
        pixels=PixelNormalisation(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)),
        patches=PatchWeights(as_float64(projection.weight), table, config.patch_size, config.prefix_tokens),
        input_norm=norm_weights(network.input_norm) if isinstance(network.input_norm, nn.LayerNorm) else None,
        blocks=tuple(block_weights(block) for block in network.blocks if isinstance(block, EncoderBlock)),
        last=None,
        norm=norm,
        heads=_heads(network, norm),
    )


def fold_pixels(graph: FoldedViT) -> FoldedViT:
    """Fold pixel normalisation into the patch projection.

    (u / 255 - mean) / std is linear in the byte u: its factor goes into the weight, its shift is added by `Lowering`.
    """
    factor = (1 / (255 * graph.pixels.std)).repeat(graph.patches.patch_size**2)
    return replace(
        graph,
        pixels=replace(graph.pixels, folded=True),
        patches=replace(graph.patches, weight=graph.patches.weight * factor),
    )


def fold_layer_scale(graph: FoldedViT) -> FoldedViT:
    """Fold LayerScale: a factor per channel of a branch is a factor per row of its last product."""
    return replace(
        graph,
        blocks=tuple(
            replace(block, projection=_scaled(block.projection), contract=_scaled(block.contract))
            for block in graph.blocks
        ),
    )


def cut_last_block(graph: FoldedViT) -> FoldedViT:
    """Cut the last block to the pooled rows, the only ones read after it, without K and V of any token.

    q · (W_k y) = (W_kᵀ q) · y, and Σ p (W_v y) = W_v Σ p y. The K bias and the norm's bias add the same to every
    score of a query and cancel in the softmax; in V they add once, as Σ p = 1. Not with QK-norm, which acts between
    W_k and q · k.
    """
    if graph.config.pooling != "token" or graph.config.qk_norm or not graph.blocks:
        return graph
    block, heads = graph.blocks[-1], graph.config.heads
    norm = _required(block.qkv.norm)
    w_q, w_k, w_v = block.qkv.weight.chunk(3)
    value_bias = w_v @ norm.bias
    b_q = None
    if block.qkv.bias is not None:
        b_q, _, b_v = block.qkv.bias.chunk(3)
        value_bias = value_bias + b_v
    return replace(
        graph,
        blocks=graph.blocks[:-1],
        last=LastBlockWeights(
            query=LinearWeights(w_q, b_q, norm),
            key=(w_k * norm.weight).unflatten(0, (heads, -1)).transpose(1, 2),
            value=(w_v * norm.weight).unflatten(0, (heads, -1)),
            projection=_shifted(block.projection, value_bias),
            expand=block.expand,
            contract=block.contract,
            norm=replace(norm, weight=torch.ones_like(norm.weight), bias=torch.zeros_like(norm.bias)),
        ),
    )


def fold_layer_norm(graph: FoldedViT) -> FoldedViT:
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


def drop_key_bias(graph: FoldedViT) -> FoldedViT:
    """Drop the K bias: it adds the same to every score of a query and cancels in the softmax. Not with QK-norm."""
    if graph.config.qk_norm:
        return graph
    return replace(graph, blocks=tuple(replace(block, qkv=_without_key_bias(block.qkv)) for block in graph.blocks))


def block_weights(block: EncoderBlock) -> BlockWeights:
    """Weights of an encoder block, in float64; SwiGLU rows are interleaved."""
    attention = block.attention
    assert isinstance(attention, Attention)
    expand = linear_weights(block.mlp.expand, block.mlp_norm)
    if isinstance(block.mlp, SwiGLU):
        expand = _interleaved(expand)
    return BlockWeights(
        qkv=linear_weights(attention.qkv, block.attention_norm),
        projection=replace(linear_weights(attention.projection), scale=_scale(block.attention_scale)),
        expand=expand,
        contract=replace(linear_weights(block.mlp.contract), scale=_scale(block.mlp_scale)),
        query_norm=norm_weights(attention.query_norm) if isinstance(attention.query_norm, nn.LayerNorm) else None,
        key_norm=norm_weights(attention.key_norm) if isinstance(attention.key_norm, nn.LayerNorm) else None,
    )


def _heads(network: ViT, norm: NormWeights) -> tuple[LinearWeights, ...]:
    """Heads on the pooled vector; the average of two halves their weights."""
    config = network.config
    modules = [network.head, network.distillation_head] if config.distillation_token else [network.head]
    heads = [linear_weights(module) for module in modules if isinstance(module, nn.Linear)]
    norm_is_last = config.pooling == "token" or config.norm_after_pooling
    share = 1 / len(heads) if heads else 1
    return tuple(
        replace(
            head, weight=head.weight * share, bias=_required(head.bias) * share, norm=norm if norm_is_last else None
        )
        for head in heads
    )


def linear_weights(module: nn.Linear, norm: nn.LayerNorm | None = None) -> LinearWeights:
    """Weights of a linear layer with the LayerNorm before it, in float64."""
    bias = None if module.bias is None else as_float64(module.bias)
    return LinearWeights(as_float64(module.weight), bias, None if norm is None else norm_weights(norm))


def norm_weights(module: nn.LayerNorm) -> NormWeights:
    """Weights of a LayerNorm, in float64."""
    return NormWeights(as_float64(module.weight), as_float64(module.bias), module.eps)


def _scale(module: nn.Module) -> Tensor | None:
    return as_float64(module.factor) if isinstance(module, LayerScale) else None


def as_float64(x: Tensor) -> Tensor:
    """Detached copy on the CPU, in float64."""
    return x.detach().to("cpu", torch.float64)


def _interleaved(layer: LinearWeights) -> LinearWeights:
    """Linear layer with rows (gate…, value…) reordered to (gate, value) pairs, so that a tile holds both of a pair."""
    bias = None if layer.bias is None else torch.stack(layer.bias.chunk(2), dim=1).flatten()
    return replace(layer, weight=torch.stack(layer.weight.chunk(2), dim=1).flatten(0, 1), bias=bias)


def _scaled(layer: LinearWeights) -> LinearWeights:
    if layer.scale is None:
        return layer
    bias = None if layer.bias is None else layer.bias * layer.scale
    return replace(layer, weight=layer.weight * layer.scale[:, None], bias=bias, scale=None)


def _shifted(layer: LinearWeights, shift: Tensor) -> LinearWeights:
    """Linear layer whose bias makes up for a constant `shift` that its input lacks."""
    bias = layer.weight @ shift
    return replace(layer, bias=bias if layer.bias is None else layer.bias + bias)


def _folded(layer: LinearWeights) -> LinearWeights:
    if layer.norm is None:
        return layer
    shifted = _shifted(layer, layer.norm.bias)
    weight = layer.weight * layer.norm.weight
    return replace(shifted, weight=weight, norm=None, sums=weight.sum(dim=1), eps=layer.norm.eps)


def _without_key_bias(layer: LinearWeights) -> LinearWeights:
    if layer.bias is None:
        return layer
    query, key, value = layer.bias.chunk(3)
    return replace(layer, bias=torch.cat([query, torch.zeros_like(key), value]))


def _required(value: X | None) -> X:
    assert value is not None
    return value

"""Exact algebra on a ViT's weights: work moves out of the forward pass. Knows no kernel and runs nothing.

Each step takes a graph in float64 and returns one that computes the same; lower.py rounds the result.
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
from .graph import BlockWeights, FoldedViT, LastBlockWeights, Pixels
from .lower import Lowering

X = TypeVar("X")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Which savings to take. Where the algebra does not hold for a network, its step changes nothing.

    `pixels`: mean, std and 1/255 into the patch projection. `layer_scale`: into projection and contract.
    `last_block`: only
    the pooled rows, K and V absorbed. `layer_norm`: into the next product. `key_bias`: dropped, softmax ignores it.
    `words`: a TNT's words are keys and values of their attention themselves.
    """

    pixels: bool = True
    layer_scale: bool = True
    last_block: bool = True
    layer_norm: bool = True
    key_bias: bool = True
    words: bool = False


ALL_STEPS = Steps()
CPU_STEPS = Steps(layer_norm=False, words=True)
"""On a CPU a LayerNorm of its own is quicker than its terms around each product, and few large products than many
small ones.
"""


def fold_vit(
    network: ViT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ALL_STEPS,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> FoldedViT:
    """A published network with its preprocessing -> the folded graph over uint8 pixels.

    Args:
        network: any dtype and device; not changed.
        mean, std: of the three channels, in units of the pixel range 0..1.
        steps: the savings to take.
        dtype: of the matrices in the result; vectors are float32 (float64 for float64).

    Raises:
        ValueError: the network pools both by token and by mean.
    """
    with torch.no_grad():
        return Lowering(dtype, torch.device(device)).graph(apply_steps(steps, vit_graph(network, mean, std)))


def apply_steps(steps: Steps, graph: FoldedViT) -> FoldedViT:
    """The graph after these steps, each where it is wanted."""
    order: tuple[tuple[bool, Callable[[FoldedViT], FoldedViT]], ...] = (
        (steps.pixels, fold_pixels),
        (steps.layer_scale, fold_layer_scale),
        (steps.last_block, cut_last_block),
        (steps.layer_norm, fold_layer_norm),
        (steps.key_bias, drop_key_bias),
    )
    return reduce(lambda done, step: step(done), (step for taken, step in order if taken), graph)


def vit_graph(network: ViT, mean: Sequence[float], std: Sequence[float]) -> FoldedViT:
    """The published network as a graph, in float64 on the CPU; prefix tokens, positions and patch bias are one
    table.
    """
    config = network.config
    if config.pooling == "token_mean":
        raise ValueError("the folded graph pools one way; a network that pools by token and mean runs in plain PyTorch")
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
        pixels=Pixels(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)),
        patches=PatchWeights(as_float64(projection.weight), table, config.patch_size, config.prefix_tokens),
        input_norm=norm_weights(network.input_norm) if isinstance(network.input_norm, nn.LayerNorm) else None,
        blocks=tuple(block_weights(block) for block in network.blocks if isinstance(block, EncoderBlock)),
        last=None,
        norm=norm,
        heads=_heads(network, norm),
    )


def fold_pixels(graph: FoldedViT) -> FoldedViT:
    """(u / 255 - mean) / std is linear in the byte u: its factor goes into the weight; its shift follows in
    lower.py.
    """
    factor = (1 / (255 * graph.pixels.std)).repeat(graph.patches.patch_size**2)
    return replace(
        graph,
        pixels=replace(graph.pixels, folded=True),
        patches=replace(graph.patches, weight=graph.patches.weight * factor),
    )


def fold_layer_scale(graph: FoldedViT) -> FoldedViT:
    """A factor per channel of the branch is a factor per row of its last product."""
    return replace(
        graph,
        blocks=tuple(
            replace(block, projection=_scaled(block.projection), contract=_scaled(block.contract))
            for block in graph.blocks
        ),
    )


def cut_last_block(graph: FoldedViT) -> FoldedViT:
    """After the last block only the pooled rows are read: it need not compute others, nor K and V of any token.

    q · (W_k y) = (W_kᵀ q) · y, and Σ p (W_v y) = W_v Σ p y. The K bias and the norm's bias add the same to every
    score of a
    query and drop out of the softmax; in V they add once, as Σ p = 1. Not with QK-norm, which stands between W_k and
    q · k.
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
    """LayerNorm into the product after it: its weight into the columns, its bias into the bias, mean and rstd after
    it.
    """
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
    """Added to every key, it adds the same to every score of a query. Not with QK-norm."""
    if graph.config.qk_norm:
        return graph
    return replace(graph, blocks=tuple(replace(block, qkv=_without_key_bias(block.qkv)) for block in graph.blocks))


def block_weights(block: EncoderBlock) -> BlockWeights:
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
    """The heads on the pooled vector; two of them are averaged, which halves their weights."""
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
    bias = None if module.bias is None else as_float64(module.bias)
    return LinearWeights(as_float64(module.weight), bias, None if norm is None else norm_weights(norm))


def norm_weights(module: nn.LayerNorm) -> NormWeights:
    return NormWeights(as_float64(module.weight), as_float64(module.bias), module.eps)


def _scale(module: nn.Module) -> Tensor | None:
    return as_float64(module.factor) if isinstance(module, LayerScale) else None


def as_float64(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float64)


def _interleaved(layer: LinearWeights) -> LinearWeights:
    """Rows (gate…, value…) -> (gate, value) pairs, so that a tile of the product holds both of each."""
    bias = None if layer.bias is None else torch.stack(layer.bias.chunk(2), dim=1).flatten()
    return replace(layer, weight=torch.stack(layer.weight.chunk(2), dim=1).flatten(0, 1), bias=bias)


def _scaled(layer: LinearWeights) -> LinearWeights:
    if layer.scale is None:
        return layer
    bias = None if layer.bias is None else layer.bias * layer.scale
    return replace(layer, weight=layer.weight * layer.scale[:, None], bias=bias, scale=None)


def _shifted(layer: LinearWeights, shift: Tensor) -> LinearWeights:
    """The layer on an input that lacks `shift`."""
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

"""Operators of a network, one by one, with random weights and inputs, for `tessella bench kernels`.

Each is a call that a folded network makes; its PyTorch implementation is the published arithmetic of the same step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...kernels import ops, tnt_ops
from ...kernels.options import Options, Workspace
from ...kernels.weights import (
    MATRICES,
    VECTORS,
    InnerEmbedWeights,
    InnerProjectionWeights,
    InnerWeights,
    LinearWeights,
    NormWeights,
    PatchWeights,
)
from ...models.config import Config, TNTConfig, ViTConfig
from ...models.execution.folded_tensors import fold_network
from ...models.networks.tnt import TNT

VIT = ("patch_embed", "qkv", "attention", "projection", "expand", "contract", "layer_norm", "class_attention")
TNT_ONLY = ("tnt_embed", "tnt_inner", "tnt_project", "tnt_add")

Dtype = torch.dtype
Call = Callable[[Sequence[Tensor], Options], Tensor]


@dataclass(frozen=True, slots=True)
class Operator:
    """One call of one operator; implements `measure.Work`.

    Attributes:
        inputs: all tensors that the call reads, including weights.
        call: inputs and options -> the result that is compared.
        published_macs: multiply-accumulates as published.
        min_bytes: minimum memory traffic: inputs, weights and results once.
    """

    name: str
    batch: int
    dtype: Dtype
    inputs: tuple[Tensor, ...]
    call: Call
    published_macs: int
    min_bytes: int

    def triton(self) -> Callable[[], Tensor]:
        options = Options("triton", workspace=Workspace())
        return lambda: self.call(self.inputs, options)

    def torch(self) -> Callable[[], Tensor]:
        return lambda: self.call(self.inputs, Options("torch"))

    def reference(self) -> Tensor:
        """Result in float64, from the same rounded inputs and weights."""
        return self.call([x.double() if x.is_floating_point() else x for x in self.inputs], Options("torch"))

    def macs(self) -> int:
        return self.published_macs

    def bytes(self) -> int:
        return self.min_bytes


def names_of(config: Config) -> tuple[str, ...]:
    """Operators of a ViT, or those of a TNT that a ViT does not have."""
    return TNT_ONLY if isinstance(config, TNTConfig) else VIT


def make(name: str, config: Config, batch: int, dtype: torch.dtype, device: torch.device) -> Operator:
    """Operator with the shapes that this network has at this batch size."""
    factory = _Factory(batch, dtype, device)
    if isinstance(config, TNTConfig):
        return _tnt_operator(name, config, factory)
    return _vit_operator(name, config, factory)


@dataclass(frozen=True, slots=True)
class _Factory:
    """Random inputs of one batch size, dtype and device, and operators over them."""

    batch: int
    dtype: torch.dtype
    device: torch.device

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, device=self.device) * scale).to(self.dtype)

    def pixels(self, size: int) -> Tensor:
        return torch.randint(0, 256, (self.batch, size, size, 3), dtype=torch.uint8, device=self.device)

    def operator(self, name: str, inputs: Sequence[Tensor], call: Call, macs: int, written: int) -> Operator:
        """`written`: elements of the result."""
        min_bytes = sum(x.nbytes for x in inputs) + written * self.dtype.itemsize
        return Operator(name, self.batch, self.dtype, tuple(inputs), call, macs, min_bytes)


def _vit_operator(name: str, config: ViTConfig, factory: _Factory) -> Operator:
    dim, tokens, rows = config.dim, config.tokens, factory.batch * config.tokens
    match name:
        case "patch_embed":
            pixels, patch = factory.pixels(config.image_size), config.patch_size
            weight = factory.normal(dim, patch**2 * 3, scale=1 / 255)
            inputs: tuple[Tensor, ...] = (pixels, weight, factory.normal(tokens, dim))
            prefix = config.prefix_tokens

            def embed(x: Sequence[Tensor], options: Options) -> Tensor:
                return ops.patch_embed(x[0], PatchWeights(x[1], x[2], patch, prefix), options=options)[0]

            return factory.operator(name, inputs, embed, factory.batch * config.grid**2 * weight.numel(), rows * dim)
        case "attention":
            qkv = factory.normal(factory.batch, tokens, 3 * dim)
            macs = 2 * rows * tokens * dim
            return factory.operator(
                name, (qkv,), lambda x, o: ops.attention(x[0], config.heads, options=o), macs, rows * dim
            )
        case "layer_norm":
            inputs = (factory.normal(rows, dim), factory.normal(dim), factory.normal(dim))
            return factory.operator(
                name,
                inputs,
                lambda x, o: ops.layer_norm(x[0], NormWeights(x[1], x[2], 1e-6), options=o)[0],
                0,
                rows * dim,
            )
        case "class_attention":
            count, scale = config.heads, (dim // config.heads) ** -0.5
            inputs = (factory.normal(factory.batch, count, dim), factory.normal(factory.batch, tokens, dim))

            def attend(x: Sequence[Tensor], options: Options) -> Tensor:
                return ops.class_attention(x[0], x[1], None, eps=1e-6, scale=scale, options=options)

            return factory.operator(name, inputs, attend, 2 * rows * count * dim, factory.batch * count * dim)
        case _:
            return _linear(name, config, factory)


def _linear(name: str, config: ViTConfig, factory: _Factory) -> Operator:
    """One of a block's four products with its epilogue, except for a folded LayerNorm."""
    dim, hidden, rows = config.dim, config.mlp_dim, factory.batch * config.tokens
    contracted = hidden // 2 if config.feedforward == "swiglu" else hidden
    shapes = {"qkv": (3 * dim, dim), "projection": (dim, dim), "expand": (hidden, dim), "contract": (dim, contracted)}
    columns, depth = shapes[name]
    activation = config.feedforward if name == "expand" else "none"
    inputs = [factory.normal(rows, depth), factory.normal(columns, depth, scale=depth**-0.5), factory.normal(columns)]
    if name in ("projection", "contract"):
        inputs.append(factory.normal(rows, dim))

    def multiply(x: Sequence[Tensor], options: Options) -> Tensor:
        residual = x[3] if len(x) > 3 else None
        weights = LinearWeights(x[1], x[2])
        return ops.linear(x[0], weights, activation=activation, residual=residual, options=options)[0]

    return factory.operator(name, inputs, multiply, rows * columns * depth, rows * columns)


def _tnt_operator(name: str, config: TNTConfig, factory: _Factory) -> Operator:
    torch.manual_seed(0)
    graph = fold_network(TNT(config), (0.5,) * 3, (0.5,) * 3, dtype=factory.dtype, device=factory.device)
    patches, width = config.grid**2, config.words * config.inner_dim
    rows, groups = factory.batch * patches, 1 + config.depth
    match name:
        case "tnt_embed":
            embedding = graph.inner_embedding
            inputs: tuple[Tensor, ...] = (factory.pixels(config.image_size), embedding.weight, embedding.table)

            def embed(x: Sequence[Tensor], options: Options) -> Tensor:
                weights = InnerEmbedWeights(x[1], x[2], embedding.patch_size, embedding.margin, embedding.window)
                return tnt_ops.tnt_embed(x[0], weights, options=options)

            return factory.operator(name, inputs, embed, rows * embedding.weight.numel(), rows * width)
        case "tnt_inner":
            inner, hidden = graph.inner_blocks, config.inner_mlp_dim
            per_token = config.inner_dim * (4 * config.inner_dim + 2 * hidden + 2 * config.words)
            inputs = (factory.normal(rows, width), *_matrices(inner))
            macs = rows * config.words * per_token * config.depth
            return factory.operator(name, inputs, _inner_call(inner), macs, groups * rows * width)
        case "tnt_project":
            inputs = (factory.normal(groups, rows, width), graph.inner_projections.weight, graph.inner_projections.bias)

            def project(x: Sequence[Tensor], options: Options) -> Tensor:
                return tnt_ops.tnt_project(x[0], InnerProjectionWeights(x[1], x[2]), options=options)

            return factory.operator(
                name, inputs, project, groups * rows * width * config.dim, groups * rows * config.dim
            )
        case _:
            norm = graph.projection_norms[1]
            tokens = factory.normal(factory.batch, config.tokens, config.dim)
            inputs = (tokens, factory.normal(factory.batch, patches, config.dim))
            affine = () if norm is None else (norm.weight, norm.bias)

            def add(x: Sequence[Tensor], options: Options) -> Tensor:
                weights = None if norm is None else NormWeights(x[2], x[3], norm.eps)
                return tnt_ops.tnt_add(x[0], x[1], weights, options=options)[0]

            return factory.operator(name, (*inputs, *affine), add, 0, tokens.numel())


def _matrices(weights: InnerWeights) -> Iterator[Tensor]:
    return (getattr(weights, name) for name in (*MATRICES, *VECTORS))


def _inner_call(weights: InnerWeights) -> Call:
    """Run all inner blocks, with packed weights in Triton; the inner tokens after the last block are compared."""

    def run(x: Sequence[Tensor], options: Options) -> Tensor:
        tensors: dict[str, Any] = dict(zip((*MATRICES, *VECTORS), x[1:], strict=True))
        packed = weights.packed if options.implementation == "triton" else None
        return tnt_ops.tnt_inner(x[0], replace(weights, packed=packed, **tensors), options=options)[-1]

    return run

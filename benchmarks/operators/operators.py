"""The operators of a network, one by one, with random weights and inputs: what `bench kernels` runs. Knows no clock.

Each is the call that a folded network makes; its PyTorch form is the published arithmetic of the same step.
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
from ...models.folding.fold_tnt import fold_tnt
from ...models.networks.tnt import TNT

VIT = ("patch_embed", "qkv", "attention", "projection", "expand", "contract", "layer_norm", "class_attention")
TNT_ONLY = ("tnt_embed", "tnt_inner", "tnt_project", "tnt_add")

Dtype = torch.dtype
Call = Callable[[Sequence[Tensor], Options], Tensor]


@dataclass(frozen=True, slots=True)
class Operator:
    """One call of one operator; the interface of halves.Half.

    Attributes:
        inputs: all tensors that the call reads, weights too.
        call: inputs and options -> the result that is compared.
        multiplications: multiply-accumulates of the published arithmetic.
        moved: the fewest bytes to move: inputs, weights and results once.
    """

    name: str
    batch: int
    dtype: Dtype
    inputs: tuple[Tensor, ...]
    call: Call
    multiplications: int
    moved: int

    def triton(self) -> Callable[[], Tensor]:
        options = Options("triton", workspace=Workspace())
        return lambda: self.call(self.inputs, options)

    def torch(self) -> Callable[[], Tensor]:
        return lambda: self.call(self.inputs, Options("torch"))

    def reference(self) -> Tensor:
        """In float64, from the same rounded inputs and weights."""
        return self.call([x.double() if x.is_floating_point() else x for x in self.inputs], Options("torch"))

    def macs(self) -> int:
        return self.multiplications

    def bytes(self) -> int:
        return self.moved


def names_of(config: Config) -> tuple[str, ...]:
    """A ViT's operators; of a TNT those alone that a ViT does not have."""
    return TNT_ONLY if isinstance(config, TNTConfig) else VIT


def make(name: str, config: Config, batch: int, dtype: torch.dtype, device: torch.device) -> Operator:
    """An operator as this network calls it at this batch size."""
    making = _Making(batch, dtype, device)
    if isinstance(config, TNTConfig):
        return _tnt_operator(name, config, making)
    return _vit_operator(name, config, making)


@dataclass(frozen=True, slots=True)
class _Making:
    batch: int
    dtype: torch.dtype
    device: torch.device

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, device=self.device) * scale).to(self.dtype)

    def pixels(self, size: int) -> Tensor:
        return torch.randint(0, 256, (self.batch, size, size, 3), dtype=torch.uint8, device=self.device)

    def operator(self, name: str, inputs: Sequence[Tensor], call: Call, macs: int, written: int) -> Operator:
        """`written`: elements of the result."""
        moved = sum(x.nbytes for x in inputs) + written * self.dtype.itemsize
        return Operator(name, self.batch, self.dtype, tuple(inputs), call, macs, moved)


def _vit_operator(name: str, config: ViTConfig, making: _Making) -> Operator:
    dim, tokens, rows = config.dim, config.tokens, making.batch * config.tokens
    match name:
        case "patch_embed":
            pixels, patch = making.pixels(config.image_size), config.patch_size
            weight = making.normal(dim, patch**2 * 3, scale=1 / 255)
            inputs: tuple[Tensor, ...] = (pixels, weight, making.normal(tokens, dim))
            prefix = config.prefix_tokens

            def embed(x: Sequence[Tensor], options: Options) -> Tensor:
                return ops.patch_embed(x[0], PatchWeights(x[1], x[2], patch, prefix), options=options)[0]

            return making.operator(name, inputs, embed, making.batch * config.grid**2 * weight.numel(), rows * dim)
        case "attention":
            qkv = making.normal(making.batch, tokens, 3 * dim)
            macs = 2 * rows * tokens * dim
            return making.operator(
                name, (qkv,), lambda x, o: ops.attention(x[0], config.heads, options=o), macs, rows * dim
            )
        case "layer_norm":
            inputs = (making.normal(rows, dim), making.normal(dim), making.normal(dim))
            return making.operator(
                name,
                inputs,
                lambda x, o: ops.layer_norm(x[0], NormWeights(x[1], x[2], 1e-6), options=o)[0],
                0,
                rows * dim,
            )
        case "class_attention":
            count, scale = config.heads, (dim // config.heads) ** -0.5
            inputs = (making.normal(making.batch, count, dim), making.normal(making.batch, tokens, dim))

            def attend(x: Sequence[Tensor], options: Options) -> Tensor:
                return ops.class_attention(x[0], x[1], None, eps=1e-6, scale=scale, options=options)

            return making.operator(name, inputs, attend, 2 * rows * count * dim, making.batch * count * dim)
        case _:
            return _linear(name, config, making)


def _linear(name: str, config: ViTConfig, making: _Making) -> Operator:
    """One of a block's four products with what its epilogue holds, a folded LayerNorm apart."""
    dim, hidden, rows = config.dim, config.mlp_dim, making.batch * config.tokens
    contracted = hidden // 2 if config.feedforward == "swiglu" else hidden
    shapes = {"qkv": (3 * dim, dim), "projection": (dim, dim), "expand": (hidden, dim), "contract": (dim, contracted)}
    columns, depth = shapes[name]
    activation = config.feedforward if name == "expand" else "none"
    inputs = [making.normal(rows, depth), making.normal(columns, depth, scale=depth**-0.5), making.normal(columns)]
    if name in ("projection", "contract"):
        inputs.append(making.normal(rows, dim))

    def multiply(x: Sequence[Tensor], options: Options) -> Tensor:
        residual = x[3] if len(x) > 3 else None
        weights = LinearWeights(x[1], x[2])
        return ops.linear(x[0], weights, activation=activation, residual=residual, options=options)[0]

    return making.operator(name, inputs, multiply, rows * columns * depth, rows * columns)


def _tnt_operator(name: str, config: TNTConfig, making: _Making) -> Operator:
    torch.manual_seed(0)
    graph = fold_tnt(TNT(config), (0.5,) * 3, (0.5,) * 3, dtype=making.dtype, device=making.device)
    patches, width = config.grid**2, config.words * config.inner_dim
    rows, groups = making.batch * patches, 1 + config.depth
    match name:
        case "tnt_embed":
            words = graph.inner_embedding
            inputs: tuple[Tensor, ...] = (making.pixels(config.image_size), words.weight, words.table)

            def embed(x: Sequence[Tensor], options: Options) -> Tensor:
                weights = InnerEmbedWeights(x[1], x[2], words.patch_size, words.margin, words.window)
                return tnt_ops.tnt_embed(x[0], weights, options=options)

            return making.operator(name, inputs, embed, rows * words.weight.numel(), rows * width)
        case "tnt_inner":
            inner, hidden = graph.inner_blocks, config.inner_mlp_dim
            per_token = config.inner_dim * (4 * config.inner_dim + 2 * hidden + 2 * config.words)
            inputs = (making.normal(rows, width), *_matrices(inner))
            macs = rows * config.words * per_token * config.depth
            return making.operator(name, inputs, _inner_call(inner), macs, groups * rows * width)
        case "tnt_project":
            inputs = (making.normal(groups, rows, width), graph.inner_projections.weight, graph.inner_projections.bias)

            def project(x: Sequence[Tensor], options: Options) -> Tensor:
                return tnt_ops.tnt_project(x[0], InnerProjectionWeights(x[1], x[2]), options=options)

            return making.operator(
                name, inputs, project, groups * rows * width * config.dim, groups * rows * config.dim
            )
        case _:
            norm = graph.projection_norms[1]
            tokens = making.normal(making.batch, config.tokens, config.dim)
            inputs = (tokens, making.normal(making.batch, patches, config.dim))
            affine = () if norm is None else (norm.weight, norm.bias)

            def add(x: Sequence[Tensor], options: Options) -> Tensor:
                weights = None if norm is None else NormWeights(x[2], x[3], norm.eps)
                return tnt_ops.tnt_add(x[0], x[1], weights, options=options)[0]

            return making.operator(name, (*inputs, *affine), add, 0, tokens.numel())


def _matrices(weights: InnerWeights) -> Iterator[Tensor]:
    return (getattr(weights, name) for name in (*MATRICES, *VECTORS))


def _inner_call(weights: InnerWeights) -> Call:
    """Blocks ahead, ours with the weights as packed on the host; the rows after the last block are compared."""

    def run(x: Sequence[Tensor], options: Options) -> Tensor:
        given: dict[str, Any] = dict(zip((*MATRICES, *VECTORS), x[1:], strict=True))
        packed = weights.packed if options.implementation == "triton" else None
        return tnt_ops.tnt_inner(x[0], replace(weights, packed=packed, **given), options=options)[-1]

    return run

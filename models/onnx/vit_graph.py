"""ONNX graph of a folded ViT, written from its weights: uint8 pixels in, logits out. No torch."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ...kernels.weights import LinearWeights, NormWeights
from ..folding.graph import Array, BlockWeights, FoldedViT, LastBlockWeights, PixelNormalisation
from .graph_builder import ORT_DOMAIN, GraphBuilder

ATTENTION_OPSET = 23
"""Attention is one operator from here on; before, it is written out."""
FLOAT = ir.DataType.FLOAT


class ViTGraph:
    """Writer of a ViT's graph: each method adds the operators of one part and returns its result.

    Tokens are rows of a matrix, (B · N, D), so that each linear layer is one Gemm over weights as they are stored.

    Args:
        graph: folded and lowered, with LayerNorms of their own.
    """

    def __init__(self, builder: GraphBuilder, graph: FoldedViT[Array]) -> None:
        self.builder = builder
        self.graph = graph
        self.config = graph.config
        self.pixels = graph.pixels

    def logits(self) -> ir.Value:  # (B, classes), float32
        x = self.encoded()
        if self.graph.last is not None:
            x = self.last_block(x, self.graph.last)
        total = None
        for index, (vector, head) in enumerate(zip(self.head_inputs(x), self.graph.heads, strict=True)):
            total = self.linear(vector, head, f"heads.{index}", residual=total)
        assert total is not None
        return self.builder.wide(total)

    def head_inputs(self, x: ir.Value) -> list[ir.Value]:
        """Vectors (B, D) that the heads read: of all rows, or of the pooled ones after the block that is cut."""
        b = self.builder
        if self.config.pooling == "mean" and self.config.norm_after_pooling:
            return [self.patch_mean(x)]
        if self.config.pooling == "mean":
            return [self.patch_mean(self.layer_norm(x, self.graph.norm, "norm"))]
        if self.config.pooling == "token_mean":
            y = self.layer_norm(x, self.graph.norm, "norm")
            return [b.op("Concat", self.row(y, 0), self.patch_mean(y), axis=1)]
        return [self.row(x, index) for index in range(len(self.graph.heads))]

    def row(self, x: ir.Value, index: int) -> ir.Value:
        """One token of each image: -> (B, D)."""
        count = self.pooled_rows if self.graph.last is not None else self.config.tokens
        if count == 1:
            return x
        tokens = self.builder.reshape(x, -1, count, self.config.dim)
        return self.builder.op("Gather", tokens, self.builder.weight(f"index_{index}", np.array(index)), axis=1)

    def patch_mean(self, x: ir.Value) -> ir.Value:
        """Mean of the patch tokens in float32: -> (B, D)."""
        b, prefix = self.builder, self.config.prefix_tokens
        tokens = b.reshape(x, -1, self.config.tokens, self.config.dim)
        patches = b.rows(tokens, prefix, self.config.tokens) if prefix else tokens
        return b.narrow(b.op("ReduceMean", b.wide(patches), b.integers(1), keepdims=0))

    @property
    def pooled_rows(self) -> int:
        """Tokens of an image that the heads read."""
        return 2 if self.config.distillation_token else 1

    def encoded(self) -> ir.Value:
        """Tokens before the block that is cut, if one is."""
        x = self.embedded()
        for index, block in enumerate(self.graph.blocks):
            x = self.block(x, block, f"blocks.{index}")
        return x

    def embedded(self) -> ir.Value:
        """Embedded patches and prefix tokens, with their positions."""
        b, patches = self.builder, self.graph.patches
        tokens = self.patch_products(patches.weight, patches.table[patches.prefix :], patches.patch_size)
        if patches.prefix:
            prefix = b.weight("prefix", patches.table[None, : patches.prefix].astype(b.dtype.numpy()))
            batch = b.op("Shape", b.pixels, start=0, end=1)
            shape = b.op("Concat", batch, b.integers(patches.prefix, self.config.dim), axis=0)
            tokens = b.op("Concat", b.op("Expand", prefix, shape), tokens, axis=1)
        rows = b.reshape(tokens, -1, self.config.dim)
        return rows if self.graph.input_norm is None else self.layer_norm(rows, self.graph.input_norm, "input_norm")

    def patch_products(self, weight: Array, table: Array, size: int) -> ir.Value:
        """Each patch through one product, plus its row of a float32 table: -> (B, P, O)."""
        b, grid = self.builder, self.config.image_size // size
        pixels = network_input(b, self.pixels)
        lines = b.reshape(pixels, 0, grid, size, grid, size * 3)
        patches = b.reshape(b.transpose(lines, 0, 1, 3, 2, 4), 0, grid * grid, size * size * 3)
        if self.pixels.folded:
            patches = b.cast(patches)
        products = b.op("MatMul", patches, b.weight("patches.weight", weight.T))
        return b.narrow(b.op("Add", b.wide(products), b.weight("patches.table", table)))

    def block(self, x: ir.Value, weights: BlockWeights[Array], name: str) -> ir.Value:
        x = self.attended(x, weights, name)
        return self.mlp(x, weights.expand, weights.contract, name)

    def attended(self, x: ir.Value, weights: BlockWeights[Array], name: str) -> ir.Value:
        """x + projection(attention(qkv(LayerNorm(x))))."""
        packed = self.linear(x, weights.qkv, f"{name}.qkv")
        fused = self.builder.fusions and weights.query_norm is None
        mixed = self.fused_attention(packed) if fused else self.attention(packed, weights, name)
        rows = self.builder.reshape(mixed, -1, self.config.dim)
        return self.linear(rows, weights.projection, f"{name}.projection", residual=x)

    def fused_attention(self, packed: ir.Value) -> ir.Value:  # (B · N, 3D) -> (B, N, D)
        b, config = self.builder, self.config
        parts = b.ops("Split", packed, axis=1, num_outputs=3, outputs=3)
        tokens = (b.reshape(part, -1, config.tokens, config.dim) for part in parts)
        return b.op("MultiHeadAttention", *tokens, domain=ORT_DOMAIN, num_heads=config.heads)

    def attention(self, packed: ir.Value, weights: BlockWeights[Array], name: str) -> ir.Value:
        """(B · N, 3D) -> (B, N, h, d)."""
        b, heads, width = self.builder, self.config.heads, self.config.dim // self.config.heads
        parts = b.transpose(b.reshape(packed, -1, self.config.tokens, 3, heads, width), 2, 0, 3, 1, 4)
        q, k, v = (b.op("Gather", parts, b.weight(f"index_{index}", np.array(index)), axis=0) for index in range(3))
        if weights.query_norm is not None and weights.key_norm is not None:
            q = self.layer_norm(q, weights.query_norm, f"{name}.query_norm")
            k = self.layer_norm(k, weights.key_norm, f"{name}.key_norm")
        if b.opset >= ATTENTION_OPSET:
            mixed = b.op("Attention", q, k, v)
        else:
            scores = b.op("MatMul", b.op("Mul", q, b.number(width**-0.5)), b.transpose(k, 0, 1, 3, 2))
            mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), v)
        return b.transpose(mixed, 0, 2, 1, 3)

    def mlp(self, x: ir.Value, expand: LinearWeights[Array], contract: LinearWeights[Array], name: str) -> ir.Value:
        """x + contract(activation(expand(LayerNorm(x))))."""
        if self.config.feedforward == "swiglu":
            expand = replace(
                expand, weight=_halves(expand.weight), bias=None if expand.bias is None else _halves(expand.bias)
            )
        hidden = self.activation(self.linear(x, expand, f"{name}.expand"))
        return self.linear(hidden, contract, f"{name}.contract", residual=x)

    def activation(self, x: ir.Value) -> ir.Value:
        b = self.builder
        match self.config.feedforward:
            case "gelu":
                return b.op("Gelu", x)
            case "quick_gelu":
                return b.op("Mul", x, b.op("Sigmoid", b.op("Mul", x, b.number(1.702))))
            case _:
                gate, value = b.ops("Split", x, axis=-1, num_outputs=2, outputs=2)
                return b.op("Mul", b.op("Mul", gate, b.op("Sigmoid", gate)), value)

    def last_block(self, x: ir.Value, last: LastBlockWeights[Array]) -> ir.Value:
        """Pooled rows (B · Q, D) after the last block, K and V absorbed."""
        b, heads, dim, count = self.builder, self.config.heads, self.config.dim, self.pooled_rows
        pooled = b.rows(b.reshape(x, -1, self.config.tokens, dim), 0, count)
        rows = b.reshape(pooled, -1, dim)
        query = self.per_head(self.linear(rows, last.query, "last.query"), last.key, "last.key")
        queries = b.reshape(query, -1, count * heads, dim)
        tokens = b.reshape(self.standardised(x, last.norm.eps, dim), -1, self.config.tokens, dim)
        scores = b.op("MatMul", b.op("Mul", queries, b.number((dim // heads) ** -0.5)), b.transpose(tokens, 0, 2, 1))
        mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), tokens)
        values = self.per_head(mixed, last.value, "last.value")
        y = self.linear(b.reshape(values, -1, dim), last.projection, "last.projection", residual=rows)
        return self.mlp(y, last.expand, last.contract, "last")

    def per_head(self, x: ir.Value, weight: Array, name: str) -> ir.Value:
        """A product of its own for each head: (…, h · K) in any shape, (h, O, K) -> (B · Q, h, O)."""
        b, (heads, _, depth) = self.builder, weight.shape
        by_head = b.transpose(b.reshape(x, -1, heads, depth), 1, 0, 2)
        return b.transpose(b.op("MatMul", by_head, b.weight(name, weight.transpose(0, 2, 1))), 1, 0, 2)

    def linear(self, x: ir.Value, layer: LinearWeights[Array], name: str, residual: ir.Value | None = None) -> ir.Value:
        """scale · (LayerNorm(x) · weightᵀ + bias) + residual, of those that the layer has."""
        b = self.builder
        if layer.norm is not None:
            x = self.layer_norm(x, layer.norm, f"{name}.norm")
        bias = None if layer.bias is None else self.narrow(layer.bias)
        y = self.gemm(x, layer.weight, bias, name)
        if layer.scale is not None:
            y = b.op("Mul", y, b.weight(f"{name}.scale", self.narrow(layer.scale)))
        return y if residual is None else b.op("Add", residual, y)

    def gemm(self, x: ir.Value, weight: Array, bias: Array | None, name: str) -> ir.Value:
        """x · weightᵀ + bias: (M, K), (O, K) -> (M, O); the weights are referenced as they are stored."""
        b = self.builder
        inputs = [x, b.weight(f"{name}.weight", weight)]
        inputs += [] if bias is None else [b.weight(f"{name}.bias", bias)]
        return b.op("Gemm", *inputs, transB=1)

    def narrow(self, x: Array) -> Array:
        return x.astype(self.builder.dtype.numpy())

    def layer_norm(self, x: ir.Value, norm: NormWeights[Array], name: str) -> ir.Value:
        """LayerNorm over the last dimension, in float32."""
        b = self.builder
        weights = b.weight(f"{name}.weight", norm.weight), b.weight(f"{name}.bias", norm.bias)
        return b.narrow(b.op("LayerNormalization", b.wide(x), *weights, axis=-1, epsilon=norm.eps))

    def standardised(self, x: ir.Value, eps: float, columns: int) -> ir.Value:
        """LayerNorm over the last dimension without weight and bias, in float32."""
        b = self.builder
        ones = b.weight(f"ones_{columns}", np.ones(columns, np.float32))
        return b.narrow(b.op("LayerNormalization", b.wide(x), ones, axis=-1, epsilon=eps))


def _halves(x: Array) -> Array:
    """Rows (gate, value) in pairs -> all gates, then all values."""
    return x.reshape(-1, 2, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)


def network_input(b: GraphBuilder, pixels: PixelNormalisation[Array]) -> ir.Value:
    """Input of the first product (B, H, W, 3): bytes if mean and std are folded into it, else normalised values."""
    if pixels.folded:
        return b.pixels
    shares = b.op("Div", b.cast(b.pixels, FLOAT), b.number(255.0, FLOAT))
    centred = b.op("Sub", shares, b.weight("pixels.mean", pixels.mean))
    return b.narrow(b.op("Div", centred, b.weight("pixels.std", pixels.std)))

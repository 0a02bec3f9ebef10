"""ONNX graph of a folded TNT, written from its weights: inner blocks, then the outer stack. No torch."""

import numpy as np
import onnx_ir as ir

from ..folding.graph import Array, FoldedTNT
from .graph_builder import GraphBuilder
from .vit_graph import ViTGraph, network_input


class TNTGraph(ViTGraph):
    """Writer of a TNT's graph; the outer stack is a ViT's, with rows added before each block.

    Args:
        graph: folded and lowered, with LayerNorms of their own.
    """

    def __init__(self, builder: GraphBuilder, graph: FoldedTNT[Array]) -> None:
        super().__init__(builder, graph.outer)
        self.tnt = graph
        self.pixels = graph.pixels

    def encoded(self) -> ir.Value:
        b = self.builder
        additions = self.additions()
        x = self.added(b.weight("table", self.narrow(self.tnt.table)), additions[0], 0)
        for index, block in enumerate(self.graph.blocks):
            x = self.block(self.added(x, additions[index + 1], index + 1), block, f"blocks.{index}")
        if self.graph.last is not None:
            x = self.added(x, additions[-1], len(additions) - 1)
        return x

    def added(self, x: ir.Value, addition: ir.Value, index: int) -> ir.Value:
        """Patch tokens plus what their inner tokens add, class token as it is: (B · N, D), (B · P, D) -> (B · N, D)."""
        b, config = self.builder, self.config
        norm = self.tnt.projection_norms[index]
        if norm is not None:
            addition = self.layer_norm(addition, norm, f"projections.{index}.output_norm")
        rows = b.reshape(addition, -1, config.tokens - 1, config.dim)
        tokens = x if index == 0 else b.reshape(x, -1, config.tokens, config.dim)  # the table is every image's
        return b.reshape(b.op("Add", tokens, b.op("Pad", rows, b.integers(0, 1, 0, 0, 0, 0))), -1, config.dim)

    def additions(self) -> list[ir.Value]:
        """Projected rows of the embedding and of each inner block, (B · P, D) each."""
        b, inner = self.builder, self.tnt.inner_blocks
        rows = b.reshape(self.inner_tokens(), -1, self.tnt.config.words * inner.dim)  # (B · P, W · d)
        x = b.reshape(rows, 0, -1, inner.dim)
        outgoing = [self.standardised(rows, inner.eps, self.tnt.config.words * inner.dim)]
        for index in range(inner.depth):
            x = self.inner_block(x, index)
            outgoing.append(self.outgoing(x))
        weight, bias = self.tnt.inner_projections.weight, self.narrow(self.tnt.inner_projections.bias)
        return [
            self.gemm(row, weight[index], bias[index], f"projections.{index}") for index, row in enumerate(outgoing)
        ]

    def outgoing(self, x: ir.Value) -> ir.Value:
        """Rows that a block's projection reads of its inner tokens: (M, W, d) -> (M, W · d)."""
        inner, columns = self.tnt.inner_blocks, self.tnt.config.words * self.tnt.inner_blocks.dim
        if inner.per_token:
            return self.builder.reshape(self.standardised(x, inner.eps, inner.dim), 0, columns)
        return self.standardised(self.builder.reshape(x, 0, columns), inner.eps, columns)

    def inner_block(self, x: ir.Value, index: int) -> ir.Value:
        """x + attention(norm(x)), then x + mlp(norm(x)): (M, W, d) -> (M, W, d)."""
        b, inner, name = self.builder, self.tnt.inner_blocks, f"inner.{index}"
        x = b.op("Add", x, self.inner_attention(self.standardised(x, inner.eps, inner.dim), index))
        y = self.standardised(x, inner.eps, inner.dim)
        hidden = self.product(y, inner.expand[index], self.narrow(inner.expand_bias[index]), f"{name}.expand")
        out = self.product(
            b.op("Gelu", hidden),
            inner.contract[index],
            self.narrow(inner.contract_bias[index]),
            f"{name}.contract",
        )
        return b.op("Add", x, out)

    def inner_attention(self, y: ir.Value, index: int) -> ir.Value:
        """Attention over normalised inner tokens, projected: (M, W, d) -> (M, W, d)."""
        b, inner, name = self.builder, self.tnt.inner_blocks, f"inner.{index}"
        bias = self.narrow(inner.projection_bias[index])
        if inner.absorbed is None:
            mixed = self.inner_heads(y, index)
            return self.product(mixed, inner.projection[index], bias, f"{name}.projection")
        weights = inner.absorbed
        queries = self.product(y, weights.query[index], self.narrow(weights.query_bias[index]), f"{name}.query")
        stacked = b.reshape(queries, 0, self.tnt.config.words * inner.heads, inner.dim)
        scores = b.op("Softmax", b.op("MatMul", stacked, b.transpose(y, 0, 2, 1)), axis=-1)  # (M, W · h, W)
        mixed = b.reshape(b.op("MatMul", scores, y), 0, -1, inner.heads * inner.dim)
        return self.product(mixed, weights.output[index], bias, f"{name}.output")

    def inner_heads(self, y: ir.Value, index: int) -> ir.Value:
        """Heads side by side; the scale sits in the query's weights."""
        b, inner = self.builder, self.tnt.inner_blocks
        bias = np.concatenate([self.narrow(inner.query_bias[index]), np.zeros(2 * inner.dim, b.dtype.numpy())])
        packed = self.product(y, inner.qkv[index], bias, f"inner.{index}.qkv")
        parts = b.ops("Split", packed, axis=2, num_outputs=3, outputs=3)
        q, k, v = (b.reshape(part, 0, 0, inner.heads, -1) for part in parts)
        scores = b.op("MatMul", b.transpose(q, 0, 2, 1, 3), b.transpose(k, 0, 2, 3, 1))
        mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), b.transpose(v, 0, 2, 1, 3))
        return b.reshape(b.transpose(mixed, 0, 2, 1, 3), 0, 0, inner.dim)

    def inner_tokens(self) -> ir.Value:
        """Embedded inner tokens of each patch, side by side: -> (B, P, W · d)."""
        embedding = self.tnt.inner_embedding
        if embedding.window == embedding.patch_size:
            return self.patch_products(embedding.weight, embedding.table, embedding.patch_size)
        return self.convolved()

    def convolved(self) -> ir.Value:
        """Inner tokens of windows that reach beyond their patch, as `inner_tokens`: one convolution over the image."""
        b, embedding = self.builder, self.tnt.inner_embedding
        beyond = max(0, embedding.window - embedding.margin - embedding.patch_size)
        pixels = network_input(b, self.pixels)
        images = b.transpose(b.cast(pixels) if self.pixels.folded else pixels, 0, 3, 1, 2)
        kernel = embedding.weight.reshape(-1, embedding.window, embedding.window, 3).transpose(0, 3, 1, 2)
        maps = b.op(
            "Conv",
            images,
            b.weight("inner.embedding.weight", kernel),
            strides=[embedding.patch_size] * 2,
            pads=[embedding.margin, embedding.margin, beyond, beyond],
        )
        rows = b.transpose(b.reshape(maps, 0, len(kernel), -1), 0, 2, 1)
        return b.narrow(b.op("Add", b.wide(rows), b.weight("inner.embedding.table", embedding.table)))

    def product(self, x: ir.Value, weight: Array, bias: Array, name: str) -> ir.Value:
        b = self.builder
        return b.op("Add", b.op("MatMul", x, b.weight(f"{name}.weight", weight.T)), b.weight(f"{name}.bias", bias))

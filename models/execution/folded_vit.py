"""Folded ViT: executes a folded graph operator by operator."""

import math
from dataclasses import replace

from torch import Tensor

from ...kernels.block_ops import fused_qkv_attention, layernorm_mlp
from ...kernels.device import gpu_of
from ...kernels.ops import (
    Tokens,
    class_attention,
    compute_row_statistics,
    grouped_linear,
    layer_norm,
    linear,
    mean_pool,
    patch_embed,
)
from ...kernels.options import DEFAULT, Options
from ...kernels.reference import normalise
from ...kernels.tuning import tables
from ..folding.graph import BlockWeights, FoldedViT, LastBlockWeights


class FusedViT:
    """uint8 pixels (B, H, W, 3) -> logits (B, classes), or features (B, dim) where the network has no head.

    Args:
        graph: folded and lowered, on the device to run on.
        options: passed to every operator. With a workspace, the next call overwrites the result.
        plain: the same network with LayerNorms not folded, for sub-blocks that PyTorch was measured to run faster.
    """

    def __init__(self, graph: FoldedViT, options: Options = DEFAULT, plain: FoldedViT | None = None) -> None:
        self.graph = graph
        self.options = options
        self.config = graph.config
        self._plain = {} if plain is None else dict(zip(map(id, graph.blocks), plain.blocks, strict=True))

    def __call__(self, pixels: Tensor) -> Tensor:  # uint8 (B, H, W, 3) -> (B, classes)
        if not self.graph.heads:
            return self.features(pixels)
        x, statistics = self._encode(pixels)
        if self.config.pooling == "mean":
            return self._mean_logits(x, statistics)
        if self.graph.last is not None:
            x, statistics = self._last_block(x, statistics, self.graph.last)
        else:
            x, statistics = self._pooled_rows(x, statistics)
        return self._token_logits(x, statistics)

    def features(self, pixels: Tensor) -> Tensor:  # uint8 (B, H, W, 3) -> (B, D)
        """Input of the head; with a distillation token, the mean of its row and the class row."""
        x, statistics = self._encode(pixels)
        if self.config.pooling == "mean":
            return self._mean_features(x, statistics)
        if self.graph.last is not None:
            x, _ = self._last_block(x, statistics, self.graph.last)
        else:
            x, _ = self._pooled_rows(x, None)
        y = layer_norm(x.flatten(0, 1), self.graph.norm, options=self.options, name="features")[0].view_as(x)
        return y[:, 0] if y.shape[1] == 1 else y.mean(dim=1)

    def _encode(self, pixels: Tensor) -> Tokens:  # -> (B, N, D), after all blocks but a cut last one
        graph, folded = self.graph, self.graph.layer_norm_folded
        if not graph.pixels.folded:
            dtype = graph.patches.weight.dtype
            pixels = normalise(pixels, graph.pixels.mean, graph.pixels.std, dtype).permute(0, 2, 3, 1)
        embed_statistics = folded and graph.input_norm is None
        x, statistics = patch_embed(pixels, graph.patches, return_statistics=embed_statistics, options=self.options)
        if graph.input_norm is not None:
            y, statistics = layer_norm(
                x.flatten(0, 1), graph.input_norm, return_statistics=folded, options=self.options, name="embedded.norm"
            )
            x = y.view_as(x)
        for block in graph.blocks:
            x, statistics = self._block(x, statistics, block)
        return x, statistics

    def _block(self, x: Tensor, statistics: Tensor | None, block: BlockWeights) -> Tokens:
        folded = self.graph.layer_norm_folded
        weights, options = self._select("fused_qkv_attention", x, block)
        x, statistics = fused_qkv_attention(
            x,
            weights.qkv,
            weights.projection,
            self.config.heads,
            row_statistics=statistics,
            query_norm=block.query_norm,
            key_norm=block.key_norm,
            return_statistics=folded and weights is block,
            options=options,
        )
        weights, options = self._select("layernorm_mlp", x, block)
        y, statistics = layernorm_mlp(
            x.flatten(0, 1),
            weights.expand,
            weights.contract,
            activation=self.config.feedforward,
            row_statistics=statistics,
            return_statistics=folded and weights is block,
            options=options,
        )
        if folded and statistics is None:
            statistics = compute_row_statistics(y, options=self.options, name="tokens.statistics")
        return y.view_as(x), statistics

    def _select(self, composite: str, x: Tensor, block: BlockWeights) -> tuple[BlockWeights, Options]:
        """Weights and options of a sub-block: for our kernels, or for PyTorch where it was measured faster."""
        plain = self._plain.get(id(block))
        rows, dim = x.shape[0] * x.shape[1], x.shape[2]
        if plain is None or tables.measured_choice(gpu_of(x.device), composite, rows, dim, x.dtype) != "torch":
            return block, self.options
        return plain, replace(self.options, implementation="torch")

    def _last_block(self, x: Tensor, statistics: Tensor | None, last: LastBlockWeights) -> Tokens:
        """Last block for the pooled rows only: (B, N, D) -> (B, Q, D), and their row statistics."""
        options, heads, folded = self.options, self.config.heads, self.graph.layer_norm_folded
        rows, row_statistics = self._pooled_rows(x, statistics)
        images, count, dim = rows.shape
        flat = rows.flatten(0, 1)
        query, _ = linear(flat, last.query, row_statistics=row_statistics, options=options, name="last.query")
        absorbed = grouped_linear(query.unflatten(1, (heads, -1)), last.key, options=options, name="last.absorbed")
        tokens = x
        if not folded:
            y, _ = layer_norm(x.flatten(0, 1), last.norm, options=options, name="last.norm")
            tokens = y.view_as(x)
        mixed = class_attention(
            absorbed.view(images, count * heads, dim),
            tokens,
            statistics if folded else None,
            eps=last.norm.eps,
            scale=1 / math.sqrt(dim // heads),
            options=options,
            name="last.mixed",
        )
        values = grouped_linear(mixed.view(-1, heads, dim), last.value, options=options, name="last.values")
        y, moments = linear(
            values.flatten(1),
            last.projection,
            residual=flat,
            return_statistics=folded,
            options=options,
            name="last.attended",
        )
        y, moments = layernorm_mlp(
            y,
            last.expand,
            last.contract,
            activation=self.config.feedforward,
            row_statistics=moments,
            return_statistics=folded,
            options=options,
            name="last.tokens",
        )
        return y.view(images, count, dim), moments

    def _pooled_rows(self, x: Tensor, statistics: Tensor | None) -> Tokens:
        """Class row (and distillation row) of each image, (B, Q, D), and their row statistics."""
        count = 2 if self.config.distillation_token else 1
        if statistics is not None:
            statistics = statistics.unflatten(2, x.shape[:2])[..., :count].flatten(2)
        return x[:, :count], statistics

    def _token_logits(self, x: Tensor, statistics: Tensor | None) -> Tensor:  # (B, Q, D) -> (B, classes)
        logits = None
        for index, head in enumerate(self.graph.heads):
            moments = None if statistics is None else statistics.unflatten(2, x.shape[:2])[..., index]
            logits, _ = linear(
                x[:, index],
                head,
                row_statistics=moments,
                residual=logits,
                options=self.options,
                name=f"logits.{index}",
            )
        assert logits is not None
        return logits

    def _mean_logits(self, x: Tensor, statistics: Tensor | None) -> Tensor:  # (B, N, D) -> (B, classes)
        pooled = self._mean_pooled(x, statistics)
        return linear(pooled, self.graph.heads[0], options=self.options, name="logits.0")[0]

    def _mean_pooled(self, x: Tensor, statistics: Tensor | None) -> Tensor:
        """Mean over patch tokens, as the head's weights expect it: raw, standardised, or after the full norm."""
        prefix, norm = self.config.prefix_tokens, self.graph.norm
        if self.config.norm_after_pooling:
            return mean_pool(x, prefix, options=self.options)
        if self.graph.layer_norm_folded:
            return mean_pool(x, prefix, statistics, eps=norm.eps, options=self.options)
        y, _ = layer_norm(x.flatten(0, 1), norm, options=self.options, name="final.norm")
        return mean_pool(y.view_as(x), prefix, options=self.options)

    def _mean_features(self, x: Tensor, statistics: Tensor | None) -> Tensor:
        norm, pooled = self.graph.norm, self._mean_pooled(x, statistics)
        if self.config.norm_after_pooling:
            return layer_norm(pooled, norm, options=self.options, name="features")[0]
        if self.graph.layer_norm_folded:
            return (pooled * norm.weight + norm.bias).to(pooled.dtype)
        return pooled

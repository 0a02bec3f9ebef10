"""TNT as a graph for other runtimes: uint8 pixels, one product per patch, the class row alone in the last block.

Words never read patch tokens, so nothing in the graph ties the inner blocks to the outer ones: a runtime may run them
ahead. The algebra is that of fold.py, in float64; what is rounded is rounded last.
"""

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.reference import class_attention, normalise
from .layers import EncoderBlock
from .tnt import TNT, SubPatchEmbedding, TNTBlock


class TNTGraph(nn.Module):
    """uint8 pixels (B, H, W, 3) -> logits (B, classes), or features (B, dim) where the network has no head.

    Args:
        network: any dtype, on the CPU; not changed.
        mean, std: of the three channels, in units of the pixel range 0..1.
        dtype: of the arithmetic.
    """

    def __init__(
        self, network: TNT, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.config = config = network.config
        self.dtype = dtype
        exact = copy.deepcopy(network).double().eval()
        blocks = [block for block in exact.blocks if isinstance(block, TNTBlock)]
        embed = ConvolvedWords if config.sub_patch_embedding == "image_convolution" else DenseWords
        self.words: nn.Module = embed(exact, mean, std, dtype)
        self.sentence = exact.sentence
        self.class_row, self.positions = _token_tables(exact)
        self.inner = nn.ModuleList(WordBlock(block.inner) for block in blocks)
        self.to_outer = nn.ModuleList(block.to_outer for block in blocks)
        self.outer = nn.ModuleList(block.outer for block in blocks[:-1])
        self.last = ClassBlock(blocks[-1].outer)
        self.norm, self.head = exact.norm, exact.head
        self.to(dtype)

    def forward(self, pixels: Tensor) -> Tensor:  # uint8 (B, H, W, 3) -> (B, classes)
        patches = self.config.grid**2
        words = self.words(pixels)  # (B·P, W, d)
        tokens = self.sentence(words).unflatten(0, (-1, patches)) + self.positions
        outer = torch.cat([self.class_row.expand(pixels.shape[0], -1, -1), tokens], dim=1)
        for inner, to_outer, block in zip(self.inner, self.to_outer, [*self.outer, self.last], strict=True):
            words = inner(words)
            addition = to_outer(words).unflatten(0, (-1, patches))
            outer = block(outer + F.pad(addition, (0, 0, 1, 0)))
        return self.head(self.norm(outer))


class WordBlock(nn.Module):
    """The inner encoder block on (M, W, d) words."""

    def __init__(self, block: EncoderBlock) -> None:
        super().__init__()
        self.attention_norm, self.attention = block.attention_norm, WordAttention(block)
        self.mlp_norm, self.mlp = block.mlp_norm, block.mlp

    def forward(self, x: Tensor) -> Tensor:  # (M, W, d) -> (M, W, d)
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class WordAttention(nn.Module):
    """Attention of heads a few channels wide over a few words, as two products per patch instead of two per head.

    Keys and values stand once for each head, the other heads' channels zero: the product with all of them is every
    head's scores side by side, and the product of all weights with all values is the heads' results side by side.
    """

    own: Tensor

    def __init__(self, block: EncoderBlock) -> None:
        super().__init__()
        attention = block.attention
        self.heads = attention.heads
        self.qkv, self.projection = attention.qkv, attention.projection
        dim = self.projection.in_features
        with torch.no_grad():
            self.qkv.weight[:dim] /= math.sqrt(dim // self.heads)
            if self.qkv.bias is not None:
                self.qkv.bias[:dim] /= math.sqrt(dim // self.heads)
        own = torch.eye(self.heads, dtype=torch.float64).repeat_interleave(dim // self.heads, dim=1)  # (h, d)
        self.register_buffer("own", own[:, None])  # (h, 1, d)

    def forward(self, x: Tensor) -> Tensor:  # (M, W, d) -> (M, W, d)
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        keys, values = ((part[:, None] * self.own).flatten(1, 2) for part in (key, value))  # (M, h·W, d)
        scores = torch.matmul(query, keys.transpose(1, 2)).unflatten(2, (self.heads, -1))  # (M, W, h, W)
        return self.projection(torch.matmul(scores.softmax(dim=-1).flatten(2), values))


class ClassBlock(nn.Module):
    """The last encoder block for the class token alone, K and V absorbed: (B, N, D) -> (B, D). See fold.py."""

    def __init__(self, block: EncoderBlock) -> None:
        super().__init__()
        attention = block.attention
        self.heads = attention.heads
        self.norm, self.mlp_norm, self.mlp = block.attention_norm, block.mlp_norm, block.mlp
        weights = [part.detach() for part in attention.qkv.weight.chunk(3)]
        biases: Sequence[Tensor | None] = (None, None, None)
        if attention.qkv.bias is not None:
            biases = attention.qkv.bias.detach().chunk(3)
        dim = len(weights[0])
        scale = 1 / math.sqrt(dim // self.heads)
        self.query = _linear(weights[0] * scale, None if biases[0] is None else biases[0] * scale)
        self.key = nn.Parameter(weights[1].unflatten(0, (self.heads, -1)).contiguous())  # (h, d, D)
        self.value = nn.Parameter(weights[2].unflatten(0, (self.heads, -1)).transpose(1, 2).contiguous())  # (h, D, d)
        projection = attention.projection
        shift = 0 if biases[2] is None else projection.weight.detach() @ biases[2]
        self.projection = _linear(projection.weight.detach(), projection.bias.detach() + shift)

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D) -> (B, D)
        tokens, row = self.norm(x), x[:, 0]
        query = self.query(tokens[:, 0]).unflatten(1, (self.heads, 1, -1))  # (B, h, 1, d)
        mixed = class_attention(torch.matmul(query, self.key).squeeze(2), tokens, None, eps=0.0, scale=1.0)  # (B, h, D)
        row = row + self.projection(torch.matmul(mixed.unsqueeze(2), self.value).flatten(1))
        return row + self.mlp(self.mlp_norm(row))


class DenseWords(nn.Module):
    """A patch's bytes -> its words in one product; mean, std, bias and inner positions are in its weights."""

    def __init__(self, network: TNT, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> None:
        super().__init__()
        side = network.config.patch_size
        self.side, self.dim = side, network.config.inner_dim
        weight, bias = _dense(network.sub_patch_embedding, side)  # (W·d, side²·3), (W·d,)
        if network.inner_position is not None:
            bias = bias + network.inner_position.detach().flatten()
        deviation, middle = (torch.tensor(values, dtype=torch.float64).repeat(side**2) for values in (std, mean))
        folded = (weight / (255 * deviation)).to(dtype)
        self.product = _linear(folded.double(), bias - folded.double() @ (255 * middle))

    def forward(self, pixels: Tensor) -> Tensor:  # uint8 (B, H, W, 3) -> (B·P, W, d)
        rows = pixels.unflatten(2, (-1, self.side)).unflatten(1, (-1, self.side)).transpose(2, 3)
        patches = rows.flatten(3).flatten(0, 2).flatten(1)  # (B·P, side²·3)
        return self.product(patches.to(self.product.weight.dtype)).unflatten(1, (-1, self.dim))


class ConvolvedWords(nn.Module):
    """timm's legacy form, whose convolution reads neighbouring patches: on normalised pixels, as published."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: TNT, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> None:
        super().__init__()
        self.embedding, self.dtype = network.sub_patch_embedding, dtype
        self.position = nn.Parameter(
            torch.zeros(1, dtype=torch.float64) if network.inner_position is None else network.inner_position.detach()
        )
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))

    def forward(self, pixels: Tensor) -> Tensor:  # uint8 (B, H, W, 3) -> (B·P, W, d)
        images = normalise(pixels, self.mean, self.std, self.dtype)
        return self.embedding(images) + self.position


def _dense(embedding: SubPatchEmbedding, side: int) -> tuple[Tensor, Tensor]:
    """What the embedding does to one patch: (W·d, side²·3) with pixels as (y, x, channel), and its bias."""
    pixels = side**2 * 3
    units = torch.eye(pixels, dtype=torch.float64).unflatten(1, (side, side, 3)).permute(0, 3, 1, 2)
    with torch.no_grad():
        bias = embedding(torch.zeros(1, 3, side, side, dtype=torch.float64)).flatten()
        return (embedding(units).flatten(1) - bias).T.contiguous(), bias


def _token_tables(network: TNT) -> tuple[nn.Parameter, nn.Parameter]:
    """What the class row is, (1, D), and what is added to the patches, (P, D)."""
    config = network.config
    table = torch.zeros(config.tokens, config.dim, dtype=torch.float64)
    if network.outer_position is not None:
        table = network.outer_position.detach()
    return nn.Parameter(network.class_token.detach() + table[:1]), nn.Parameter(table[1:].clone())


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer

"""Reference operators of TNT: an inner block against PyTorch's own functions, absorbed attention against the plain."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from tessella.kernels import tnt_reference
from tessella.kernels.weights import AbsorbedAttention, InnerEmbedWeights

from ..support.operators import random_inner_weights

WEIGHTS = random_inner_weights(24, 4, 40, depth=2)


def test_standardised_rows_and_tokens() -> None:
    x = torch.randn(3, 16, 24) * 5 + 2
    rows = tnt_reference.projection_input(x, WEIGHTS)
    torch.testing.assert_close(rows, F.layer_norm(x.flatten(1), (16 * 24,), eps=1e-5))
    tokens = tnt_reference.projection_input(x, replace(WEIGHTS, per_token=True))
    torch.testing.assert_close(tokens, F.layer_norm(x, (24,), eps=1e-5).flatten(1))


def test_an_inner_block() -> None:
    x = torch.randn(3, 16, 24)
    q, k, v = F.linear(F.layer_norm(x, (24,), eps=1e-5), WEIGHTS.qkv[1]).chunk(3, dim=2)
    q, k, v = (part.view(3, 16, 4, 6).transpose(1, 2) for part in (q + WEIGHTS.query_bias[1], k, v))
    values = F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2)
    y = x + F.linear(values, WEIGHTS.projection[1], WEIGHTS.projection_bias[1])
    hidden = F.gelu(F.linear(F.layer_norm(y, (24,), eps=1e-5), WEIGHTS.expand[1], WEIGHTS.expand_bias[1]))
    expected = y + F.linear(hidden, WEIGHTS.contract[1], WEIGHTS.contract_bias[1])
    torch.testing.assert_close(tnt_reference.inner_block(x, WEIGHTS, 1), expected)


def test_absorbed_attention_is_the_same() -> None:
    query, key, value = (part.unflatten(1, (4, 6)) for part in WEIGHTS.qkv.chunk(3, dim=1))  # (L, h, 6, d)
    absorbed = AbsorbedAttention(
        query=torch.einsum("lhcd,lhce->lhed", query, key).flatten(1, 2),
        query_bias=torch.einsum("lhc,lhce->lhe", WEIGHTS.query_bias.unflatten(1, (4, 6)), key).flatten(1),
        output=torch.einsum("ldhc,lhce->ldhe", WEIGHTS.projection.unflatten(2, (4, 6)), value).flatten(2),
    )
    y = torch.randn(3, 16, 24)
    result = tnt_reference.inner_attention(y, replace(WEIGHTS, absorbed=absorbed), 1)
    torch.testing.assert_close(result, tnt_reference.inner_attention(y, WEIGHTS, 1), atol=1e-4, rtol=1e-4)


def test_windows_reach_over_the_edge_as_zero_pixels() -> None:
    pixels = torch.randn(1, 8, 8, 3)
    weights = InnerEmbedWeights(torch.randn(6, 7 * 7 * 3), torch.randn(4, 6), 4, 2, 7)
    corner = F.pad(pixels, (0, 0, 2, 1, 2, 1))[:, :7, :7]
    expected = F.linear(corner.flatten(1), weights.weight) + weights.table[0]
    torch.testing.assert_close(tnt_reference.tnt_embed(pixels, weights)[:, 0], expected)


def test_projections_and_their_addition() -> None:
    rows, weight, bias = torch.randn(2, 3, 32), torch.randn(2, 8, 32), torch.randn(2, 8)
    expected = torch.bmm(rows, weight.transpose(1, 2)) + bias[:, None]
    torch.testing.assert_close(tnt_reference.tnt_project(rows, weight, bias), expected)
    table, additions = torch.randn(4, 8), torch.randn(2, 3, 8)
    tokens = tnt_reference.tnt_add(table, additions, None)
    torch.testing.assert_close(tokens[:, 0], table[:1].expand(2, -1))
    torch.testing.assert_close(tokens[:, 1:], table[1:] + additions)

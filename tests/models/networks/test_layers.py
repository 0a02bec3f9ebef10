"""Layers: attention, feed-forward, LayerScale and patch extraction against their formulas."""

import math

import pytest
import torch
from torch import nn

from tessella.models.networks.layers import (
    MLP,
    Attention,
    EncoderBlock,
    LayerScale,
    QuickGELU,
    SwiGLU,
    initialise,
    patchify,
)


def test_patches_are_row_major_with_channels_last() -> None:
    images = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 2, 2, 3)
    assert torch.equal(patches[1, 4], images[1, :, 2:4, 2:4].permute(1, 2, 0))


@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_is_softmax_of_scaled_scores(qk_norm: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2, qkv_bias=True, qk_norm=qk_norm).double()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    q, k, v = attention.qkv(x)[0].chunk(3, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = attention.query_norm(q[:, head]) @ attention.key_norm(k[:, head]).T / math.sqrt(4)
        heads.append(scores.softmax(dim=-1) @ v[:, head])
    assert torch.allclose(attention(x)[0], attention.projection(torch.cat(heads, dim=-1)))


def test_swiglu_gates_the_second_half_by_the_first() -> None:
    layer = SwiGLU(4, 6)
    x = torch.randn(2, 4)
    hidden = layer.expand(x)
    assert torch.allclose(layer(x), layer.contract(nn.functional.silu(hidden[:, :3]) * hidden[:, 3:]))


def test_quick_gelu_approximates_gelu() -> None:
    x = torch.linspace(-4, 4, 101)
    assert (QuickGELU()(x) - nn.functional.gelu(x)).abs().max() < 0.03
    assert isinstance(MLP(4, 8, "quick_gelu").activation, QuickGELU)
    assert isinstance(MLP(4, 8).activation, nn.GELU)


def test_an_encoder_block_adds_scaled_branches() -> None:
    block = EncoderBlock(8, 2, 16, layer_scale=True)
    x = torch.randn(1, 3, 8)
    assert isinstance(block.attention_scale, LayerScale)
    assert isinstance(block.mlp_scale, LayerScale)
    block.attention_scale.factor.data.fill_(2.0)
    block.mlp_scale.factor.data.zero_()
    assert torch.allclose(block(x), x + 2 * block.attention(block.attention_norm(x)), atol=1e-6)


def test_initial_weights() -> None:
    layer = nn.Sequential(nn.Linear(400, 400))
    layer.table = nn.Parameter(torch.full((400, 400), torch.nan))
    initialise(layer)
    assert isinstance(layer[0], nn.Linear)
    for tensor in (layer[0].weight, layer.table):
        assert tensor.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(layer[0].bias, torch.zeros(400))

"""Packing of inner weights: zero padding, one range of channels per head, blocks in order."""

import torch

from tessella.kernels.tnt_ops import pack_inner
from tessella.kernels.weights import CHUNK, MATRICES, VECTORS

from ..support.operators import random_inner_weights


def test_packed_weights_hold_the_same_values_and_zeros() -> None:
    weights = random_inner_weights(12, 3, 20)
    packed = pack_inner(weights)
    assert packed.heads == 4
    assert packed.qkv.shape == (2, 3, 16, 32)
    assert packed.expand.shape == (2, 16, CHUNK)
    assert packed.contract.shape == (2, CHUNK, 16)
    for name in (*MATRICES, *VECTORS):
        values, padded = getattr(weights, name), getattr(packed, name)
        assert padded.count_nonzero() == values.count_nonzero(), name
        torch.testing.assert_close(padded.sum(), values.sum(), atol=1e-4, rtol=1e-4)


def test_each_head_has_channels_of_its_own() -> None:
    weights = random_inner_weights(12, 3, 20)
    packed = pack_inner(weights)
    for head in range(3):
        own, padded = slice(4 * head, 4 * head + 4), slice(8 * head, 8 * head + 4)
        for index in range(3):
            rows = weights.qkv[:, 12 * index : 12 * index + 12][:, own]
            assert torch.equal(packed.qkv[:, index, :12, padded], rows.transpose(1, 2))
        assert torch.equal(packed.query_bias[:, padded], weights.query_bias[:, own])
        assert torch.equal(packed.projection[:, padded, :12], weights.projection[:, :, own].transpose(1, 2))


def test_tensors_of_a_range_of_blocks() -> None:
    packed = pack_inner(random_inner_weights(16, 2, 32, depth=3))
    tensors = packed.tensors(1, 3)
    assert len(tensors) == len(MATRICES) + len(VECTORS)
    assert torch.equal(tensors[0], packed.qkv[1:3])
    assert torch.equal(tensors[-1], packed.contract_bias[1:3])

"""Folded graphs over tensors: memory shared with the arrays on the CPU, bfloat16 bit by bit, packed inner weights."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.execution.folded_tensors import (
    array_of,
    fold_network,
    state_arrays,
    tensor_of,
    tnt_on_device,
    vit_on_device,
)
from tessella.models.folding.fold_tnt import fold_tnt
from tessella.models.folding.fold_vit import CPU_STEPS, fold_vit
from tessella.models.networks.tnt import TNT
from tessella.models.networks.vit import ViT

from ...support.folding import MEAN, STD, perturbed

VIT = ViTConfig(image_size=32, patch_size=8, dim=24, depth=2, heads=3, mlp_dim=64, num_classes=7)
INNER: dict[str, Any] = {"inner_dim": 12, "inner_heads": 2, "inner_mlp_dim": 20, "sub_patch_size": 2}
TINY_TNT = TNTConfig(image_size=32, patch_size=8, dim=24, depth=2, heads=3, mlp_dim=64, num_classes=7, **INNER)
NAMES = ["float64", "float32", "float16", "bfloat16"]


def leaves(x: Any, kind: type) -> Iterator[Any]:
    """Every array or tensor of a folded graph, in order; packed weights are left out."""
    if isinstance(x, kind):
        yield x
    elif isinstance(x, tuple):
        for part in x:
            yield from leaves(part, kind)
    elif is_dataclass(x):
        for field in fields(x):
            if field.name != "packed":
                yield from leaves(getattr(x, field.name), kind)


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("family", ["vit", "tnt"])
def test_a_graph_on_the_cpu_shares_the_memory_of_its_arrays(family: str, dtype: str) -> None:
    if family == "vit":
        weights = state_arrays(perturbed(ViT, VIT))
        vit = fold_vit(VIT, weights, MEAN, STD, dtype=dtype)
        arrays, tensors = [*leaves(vit, np.ndarray)], [*leaves(vit_on_device(vit, "cpu"), torch.Tensor)]
    else:
        weights = state_arrays(perturbed(TNT, TINY_TNT))
        tnt = fold_tnt(TINY_TNT, weights, MEAN, STD, CPU_STEPS, dtype=dtype)
        arrays, tensors = [*leaves(tnt, np.ndarray)], [*leaves(tnt_on_device(tnt, "cpu"), torch.Tensor)]
    assert len(arrays) == len(tensors) > 20
    for array, tensor in zip(arrays, tensors, strict=True):
        assert tensor.shape == array.shape
        assert array.size == 0 or tensor.data_ptr() == array.ctypes.data
    assert getattr(torch, dtype) in {tensor.dtype for tensor in tensors}


def test_a_tnts_inner_weights_are_packed() -> None:
    graph = fold_network(perturbed(TNT, TINY_TNT), MEAN, STD, dtype=torch.bfloat16)
    assert graph.inner_blocks.packed is not None
    assert graph.inner_blocks.packed.qkv.dtype == torch.bfloat16
    assert graph.inner_blocks.packed.qkv.count_nonzero() == graph.inner_blocks.qkv.count_nonzero()


def test_everything_but_arrays_is_kept() -> None:
    graph = fold_network(perturbed(ViT, VIT), MEAN, STD)
    assert graph.config == VIT
    assert graph.pixels.folded
    assert graph.layer_norm_folded
    assert graph.input_norm is None
    assert (graph.patches.patch_size, graph.patches.prefix) == (8, 1)


def test_a_networks_dtype_does_not_matter_and_the_network_is_not_changed() -> None:
    network = perturbed(ViT, VIT).bfloat16()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    narrow = [*leaves(fold_network(network, MEAN, STD), torch.Tensor)]
    wide = [*leaves(fold_network(network.double(), MEAN, STD), torch.Tensor)]
    assert all(torch.equal(*pair) for pair in zip(narrow, wide, strict=True))
    assert all(torch.equal(value.to(before[name].dtype), before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("dtype", NAMES)
def test_values_survive_the_way_to_an_array_and_back(dtype: str) -> None:
    tensor = torch.randn(5, 3).to(getattr(torch, dtype))
    array = array_of(tensor)
    assert array.tolist() == tensor.double().tolist()
    assert torch.equal(tensor_of(array), tensor)
    tensor[0] = 7
    assert array[0].tolist() == [7, 7, 7]
    assert tensor_of(array).data_ptr() == tensor.data_ptr()


def test_a_transposed_bfloat16_tensor_keeps_its_values() -> None:
    tensor = torch.randn(5, 3).bfloat16().T
    assert array_of(tensor).dtype == ml_dtypes.bfloat16
    assert torch.equal(tensor_of(array_of(tensor)), tensor)

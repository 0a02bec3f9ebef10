"""Folded graphs over tensors: a network's weights as arrays for folding, and the folded arrays on a device."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, overload

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from ...kernels.tnt_ops import pack_inner
from ...kernels.weights import InnerWeights
from ..folding.fold_tnt import fold_tnt
from ..folding.fold_vit import ALL_STEPS, Steps, fold_vit
from ..folding.graph import Array, FoldedTNT, FoldedViT
from ..networks.tnt import TNT
from ..networks.vit import ViT

X = TypeVar("X")


@overload
def fold_network(
    network: ViT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ...,
    *,
    dtype: torch.dtype = ...,
    device: torch.device | str = ...,
) -> FoldedViT: ...
@overload
def fold_network(
    network: TNT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ...,
    *,
    dtype: torch.dtype = ...,
    device: torch.device | str = ...,
) -> FoldedTNT: ...
def fold_network(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Steps = ALL_STEPS,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> FoldedViT | FoldedTNT:
    """Folded graph of a network on a device. The network's dtype and device are any; it is not changed.

    Arguments and errors as `fold_vit`.
    """
    name, weights = str(dtype).removeprefix("torch."), state_arrays(network)
    if isinstance(network, TNT):
        return tnt_on_device(fold_tnt(network.config, weights, mean, std, steps, dtype=name), device)
    return vit_on_device(fold_vit(network.config, weights, mean, std, steps, dtype=name), device)


def state_arrays(network: nn.Module) -> dict[str, Array]:
    """State dict as arrays, which share the memory of tensors on the CPU."""
    return {name: array_of(tensor) for name, tensor in network.state_dict().items()}


def vit_on_device(graph: FoldedViT[Array], device: torch.device | str) -> FoldedViT:
    """Folded ViT with tensors for arrays; on the CPU they share memory."""
    moved: FoldedViT = _on_device(graph, torch.device(device))
    return moved


def tnt_on_device(graph: FoldedTNT[Array], device: torch.device | str) -> FoldedTNT:
    """Folded TNT with tensors for arrays, as `vit_on_device`, and its inner weights packed for the kernel too."""
    moved: FoldedTNT = _on_device(graph, torch.device(device))
    inner: InnerWeights = moved.inner_blocks
    return replace(moved, inner_blocks=replace(inner, packed=pack_inner(inner)))


def _on_device(x: Any, device: torch.device) -> Any:
    """Tensors in place of arrays, through dataclasses and tuples."""
    if isinstance(x, np.ndarray):
        return tensor_of(x).to(device)
    if isinstance(x, tuple):
        return tuple(_on_device(part, device) for part in x)
    if is_dataclass(x) and not isinstance(x, type):
        return replace(x, **{field.name: _on_device(getattr(x, field.name), device) for field in fields(x)})
    return x


def array_of(x: Tensor) -> Array:
    """Values of a tensor as an array, which shares its memory on the CPU; bfloat16 as ml_dtypes."""
    x = x.detach().cpu()
    if x.dtype == torch.bfloat16:
        return x.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    values: Array = x.numpy()
    return values


def tensor_of(x: Array) -> Tensor:
    """Values of an array as a tensor on the CPU that shares its memory; bfloat16 from ml_dtypes."""
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)

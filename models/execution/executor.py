"""Executor of a loaded network: the folded graph on a device, in CUDA graphs on a GPU; and the backend's choice."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from ...kernels.device import gpu_of, unavailable_reason
from ...kernels.options import DEFAULT, Options, Workspace
from ...kernels.tuning import tables
from ..folding.fold_vit import ALL_STEPS, CPU_STEPS, Steps
from ..networks.tnt import TNT
from ..networks.vit import ViT
from .cuda_graphs import BUCKETS, CudaGraphs
from .folded_tensors import fold_network
from .folded_tnt import FusedTNT
from .folded_vit import FusedViT


class Executor(Protocol):
    """Forward passes over uint8 pixels (B, H, W, 3)."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes), or features if the network has no head."""

    def features(self, pixels: Tensor) -> Tensor:
        """Input of the head, (B, dim)."""


class ExecutorFactory(Protocol):
    """Folded weights on a device; makes an executor for given options."""

    def __call__(self, options: Options) -> FusedViT: ...


class CudaGraphExecutor:
    """Executor that replays CUDA graphs. Not thread-safe."""

    def __init__(self, factory: ExecutorFactory, options: Options, image_size: int, device: torch.device) -> None:
        buckets = tables.batch_buckets(gpu_of(device)) or BUCKETS
        self._logits = CudaGraphs(lambda: factory(_with_workspace(options)), image_size, device, buckets)
        self._features = CudaGraphs(lambda: factory(_with_workspace(options)).features, image_size, device, buckets)

    def __call__(self, pixels: Tensor) -> Tensor:
        return self._logits(pixels)

    def features(self, pixels: Tensor) -> Tensor:
        return self._features(pixels)

    def prepare(self, batches: Sequence[int]) -> None:
        """Compile and capture the logits of these batch sizes ahead of the first request."""
        self._logits.prepare(batches)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batch sizes with a graph of their own; batches in between are padded to the next."""
        return self._logits.buckets


def make_executor(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype,
    device: torch.device,
    options: Options = DEFAULT,
) -> Executor | None:
    """Fold a network for a device, with the folds that pay there; None if its pooling has no folded graph.

    On a GPU every batch bucket is one CUDA graph with buffers of its own. Implementation `auto` runs each sub-block
    as this GPU's table measured fastest, `triton` runs all of them in our kernels.

    Args:
        network: not changed.
        mean, std: per channel, in units of the pixel range 0..1.
        dtype: of the matrices.
    """
    folded = make_factory(network, mean, std, dtype=dtype, device=device, options=options)
    if folded is None:
        return None
    factory, options = folded
    if device.type == "cuda":
        return CudaGraphExecutor(factory, options, network.config.image_size, device)
    return factory(options)


def make_factory(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype,
    device: torch.device,
    options: Options = DEFAULT,
) -> tuple[ExecutorFactory, Options] | None:
    """Factory of the executor that `make_executor` captures, and its options; None as there. Arguments as there."""
    if isinstance(network, ViT) and network.config.pooling == "token_mean":
        return None
    kernels = options.implementation == "triton" or (
        options.implementation == "auto" and device.type == "cuda" and unavailable_reason(device, dtype) is None
    )
    mixed = kernels and options.implementation == "auto" and tables.prefers_torch(gpu_of(device), dtype)
    options = replace(options, implementation="triton" if kernels else "torch")
    steps = (ALL_STEPS, CPU_STEPS) if mixed else (ALL_STEPS,) if kernels else (CPU_STEPS,)
    return _fold(network, mean, std, steps, dtype=dtype, device=device), options


def choose_backend(
    backend: str, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[Literal["torch", "triton"], str]:
    """Backend `triton` or `torch` for a device, and a clause with the reason.

    Args:
        backend: `auto`, `triton` or `torch`.
        dtype: the requested one; None if it is chosen later, which on a GPU is never float32.

    Raises:
        ValueError: `triton` was requested and cannot run on the device or in this dtype; the message gives the reason
            and the alternative.
    """
    reason = unavailable_reason(device, dtype)
    if backend == "triton" and reason is not None:
        raise ValueError(f"backend 'triton' cannot run here: {reason}. Use backend 'torch' (or 'auto', which takes it)")
    if backend == "auto" and device.type == "cuda":
        return ("torch", f"backend torch, as {reason}") if reason else ("triton", "backend triton")
    return ("triton", "backend triton as requested") if backend == "triton" else ("torch", "backend torch")


def _fold(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Sequence[Steps],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> ExecutorFactory:
    if isinstance(network, TNT):
        tnts = [fold_network(network, mean, std, taken, dtype=dtype, device=device) for taken in steps]
        plain = tnts[1].outer if len(tnts) > 1 else None
        return lambda options: FusedTNT(tnts[0], options, plain)
    graphs = [fold_network(network, mean, std, taken, dtype=dtype, device=device) for taken in steps]
    return lambda options: FusedViT(graphs[0], options, *graphs[1:])


def _with_workspace(options: Options) -> Options:
    return replace(options, workspace=Workspace())

"""How a network that was loaded runs: folded where its family has a folded graph here, as published otherwise."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from ...kernels.device import gpu_of, unavailable_reason
from ...kernels.options import DEFAULT, Options, Workspace
from ...kernels.tuning import tables
from ..folding.fold_tnt import fold_tnt
from ..folding.fold_vit import ALL_STEPS, CPU_STEPS, Steps, fold_vit
from ..networks.tnt import TNT
from ..networks.vit import ViT
from .cuda_graphs import BUCKETS, Graphs
from .folded_tnt import FusedTNT
from .folded_vit import FusedViT


class Executor(Protocol):
    """Runs a network over uint8 pixels (B, H, W, 3)."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """-> logits (B, classes), or features where the network has no head."""

    def features(self, pixels: Tensor) -> Tensor:
        """-> (B, dim), what the head reads."""


def fused(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype,
    device: torch.device,
    options: Options = DEFAULT,
) -> Executor | None:
    """The folded network on its device, with the savings that pay there; None where the published one is to run.

    On a GPU every size of batch is one CUDA graph, with buffers of its own. With implementation `auto` each half of a
    block runs as this GPU's table says it is quickest, with `triton` all of it in our kernels.

    Args:
        network: not changed.
        mean, std: of the three channels, in units of the pixel range 0..1.
        dtype: of the matrices.
    """
    made = uncaptured(network, mean, std, dtype=dtype, device=device, options=options)
    if made is None:
        return None
    run, options = made
    return Captured(run, options, network.config.image_size, device) if device.type == "cuda" else run(options)


def uncaptured(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype,
    device: torch.device,
    options: Options = DEFAULT,
) -> "tuple[Folded, Options] | None":
    """What `fused` runs, and with which options, before it is captured: for those who capture themselves."""
    if isinstance(network, ViT) and network.config.pooling == "token_mean":
        return None
    kernels = options.implementation == "triton" or (
        options.implementation == "auto" and device.type == "cuda" and unavailable_reason(device, dtype) is None
    )
    mixed = kernels and options.implementation == "auto" and tables.prefers_torch(gpu_of(device), dtype)
    options = replace(options, implementation="triton" if kernels else "torch")
    steps = (ALL_STEPS, CPU_STEPS) if mixed else (ALL_STEPS,) if kernels else (CPU_STEPS,)
    return _folded(network, mean, std, steps, dtype=dtype, device=device), options


class Captured:
    """An executor whose passes are CUDA graphs: one thread at a time."""

    def __init__(self, run: "Folded", options: Options, image_size: int, device: torch.device) -> None:
        buckets = tables.batch_buckets(gpu_of(device)) or BUCKETS
        self._logits = Graphs(lambda: run(_with_buffers(options)), image_size, device, buckets)
        self._features = Graphs(lambda: run(_with_buffers(options)).features, image_size, device, buckets)

    def __call__(self, pixels: Tensor) -> Tensor:
        return self._logits(pixels)

    def features(self, pixels: Tensor) -> Tensor:
        return self._features(pixels)

    def prepare(self, batches: Sequence[int]) -> None:
        """Compiles and captures what batches of these sizes need, so that no request waits for it."""
        self._logits.prepare(batches)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Sizes of batch that are graphs of their own; what lies between is filled up to the next."""
        return self._logits.buckets


class Folded(Protocol):
    """Weights that wait for options."""

    def __call__(self, options: Options) -> FusedViT: ...


def choose_backend(
    backend: str, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[Literal["torch", "triton"], str]:
    """`triton` or `torch`, and a clause that says why.

    Args:
        dtype: that was asked for; None where it is chosen later, which on a GPU is never float32.

    Raises:
        ValueError: `triton` was asked for and cannot run on the device, or not in this dtype; the message says why and
            what to use.
    """
    reason = unavailable_reason(device, dtype)
    if backend == "triton" and reason is not None:
        raise ValueError(f"backend 'triton' cannot run here: {reason}. Use backend 'torch' (or 'auto', which takes it)")
    if backend == "auto" and device.type == "cuda":
        return ("torch", f"backend torch, as {reason}") if reason else ("triton", "backend triton")
    return ("triton", "backend triton as asked") if backend == "triton" else ("torch", "backend torch")


def _folded(
    network: ViT | TNT,
    mean: Sequence[float],
    std: Sequence[float],
    steps: Sequence[Steps],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> Folded:
    if isinstance(network, TNT):
        tnts = [fold_tnt(network, mean, std, taken, dtype=dtype, device=device) for taken in steps]
        plain = tnts[1].outer if len(tnts) > 1 else None
        return lambda options: FusedTNT(tnts[0], options, plain)
    graphs = [fold_vit(network, mean, std, taken, dtype=dtype, device=device) for taken in steps]
    return lambda options: FusedViT(graphs[0], options, *graphs[1:])


def _with_buffers(options: Options) -> Options:
    return replace(options, workspace=Workspace())

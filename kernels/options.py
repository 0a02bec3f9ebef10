"""Options of every operator: implementation, batch invariance, output buffers. Independent of any operator."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from .tuning.heuristics import LaunchConfig

Implementation = Literal["auto", "torch", "triton"]


class Workspace:
    """Buffers by name, reused by later forward passes: a pass with the same shapes allocates nothing."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Buffer of that name with its old contents; zeros where shape, dtype or device are not those of the last."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != shape or buffer.dtype != dtype or buffer.device != device:
            buffer = self._buffers[name] = torch.zeros(shape, dtype=dtype, device=device)
        return buffer

    @property
    def bytes(self) -> int:
        """Total size of the buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())


@dataclass(frozen=True, slots=True)
class Options:
    """Options passed to every operator.

    Attributes:
        implementation: `torch`, `triton`, or `auto`: Triton for CUDA tensors, PyTorch for all others.
        batch_invariant: use launch configurations that do not depend on the batch, so that an image's result does not
            either.
        workspace: allocates results; without one each result is a new tensor.
    """

    implementation: Implementation = "auto"
    batch_invariant: bool = False
    workspace: Workspace | None = field(default=None, compare=False)

    def uses_triton(self, x: Tensor) -> bool:
        """True where `x` is computed by the Triton kernels.

        Raises:
            ValueError: an unknown implementation.
        """
        if self.implementation not in ("auto", "torch", "triton"):
            raise ValueError(f"implementation {self.implementation!r} is not one of auto, torch, triton")
        return self.implementation == "triton" or (self.implementation == "auto" and x.is_cuda)

    def empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Uninitialised buffer for a result, from the workspace if there is one."""
        if self.workspace is None:
            return torch.empty(shape, dtype=dtype, device=device)
        return self.workspace.get(name, shape, dtype, device)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Buffer of zeros; its user must leave it zero."""
        if self.workspace is None:
            return torch.zeros(shape, dtype=dtype, device=device)
        return self.workspace.get(name, shape, dtype, device)

    def statistics_buffer(self, needed: bool, name: str, out: Tensor, block: int) -> Tensor | None:
        """Buffer (parts, 2, M) for row statistics of `out` (…, D) in tiles of `block` columns; None if not `needed`."""
        if not needed:
            return None
        parts, rows = -(-out.shape[-1] // block), out.numel() // out.shape[-1]
        return self.empty(f"{name}.statistics", (parts, 2, rows), torch.float32, out.device)

    def split_k_buffers(
        self, name: str, config: LaunchConfig, rows: int, columns: int, device: torch.device
    ) -> tuple[Tensor | None, Tensor | None]:
        """Partial sums and arrival counters of a split-K launch; None for any other."""
        if config.split_k == 1:
            return None, None
        tiles = -(-rows // config.block_m) * -(-columns // config.block_n)
        size = tiles * config.split_k * config.block_m * config.block_n
        return (
            self.empty(f"{name}.partials", (size,), torch.float32, device),
            self.zeros(f"{name}.counters", (tiles,), torch.int32, device),
        )


DEFAULT = Options()

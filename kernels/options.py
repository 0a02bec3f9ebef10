"""How operators run: which implementation, with which promises, into which buffers. Knows no operator."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from .tuning.heuristics import LaunchConfig

Implementation = Literal["auto", "torch", "triton"]


class Workspace:
    """Buffers by name, kept from one forward pass to the next, so that a second pass of the same shapes allocates
    nothing.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """The buffer of that name; a new one where the last had another shape, dtype or device. Its contents are
        old.
        """
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != shape or buffer.dtype != dtype or buffer.device != device:
            buffer = self._buffers[name] = torch.zeros(shape, dtype=dtype, device=device)
        return buffer

    @property
    def bytes(self) -> int:
        return sum(buffer.nbytes for buffer in self._buffers.values())


@dataclass(frozen=True, slots=True)
class Options:
    """Passed to every operator.

    Attributes:
        implementation: `torch`, `triton`, or `auto`: Triton for CUDA tensors, PyTorch for any other.
        batch_invariant: launch configurations that do not depend on the batch, so that an image's result does not
        either.
        workspace: where results go; without one each result is a new tensor.
    """

    implementation: Implementation = "auto"
    batch_invariant: bool = False
    workspace: Workspace | None = field(default=None, compare=False)

    def uses_triton(self, x: Tensor) -> bool:
        """Whether `x` goes through our kernels."""
        if self.implementation not in ("auto", "torch", "triton"):
            raise ValueError(f"implementation {self.implementation!r} is not one of auto, torch, triton")
        return self.implementation == "triton" or (self.implementation == "auto" and x.is_cuda)

    def empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A buffer for a result, from the workspace where there is one."""
        if self.workspace is None:
            return torch.empty(shape, dtype=dtype, device=device)
        return self.workspace.get(name, shape, dtype, device)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A buffer that is zero and that its user leaves zero."""
        if self.workspace is None:
            return torch.zeros(shape, dtype=dtype, device=device)
        return self.workspace.get(name, shape, dtype, device)

    def statistics_buffer(
        self, needed: bool, name: str, rows: int, columns: int, block: int, device: torch.device
    ) -> Tensor | None:
        """Row statistics of a result that is written in tiles of `block` columns."""
        if not needed:
            return None
        return self.empty(f"{name}.statistics", (-(-columns // block), 2, rows), torch.float32, device)

    def partials(
        self, name: str, tile: LaunchConfig, rows: int, columns: int, device: torch.device
    ) -> tuple[Tensor | None, Tensor | None]:
        """Partial sums and arrival counters for a product whose depth is split."""
        if tile.split_k == 1:
            return None, None
        tiles = -(-rows // tile.block_m) * -(-columns // tile.block_n)
        size = tiles * tile.split_k * tile.block_m * tile.block_n
        return (
            self.empty(f"{name}.partials", (size,), torch.float32, device),
            self.zeros(f"{name}.counters", (tiles,), torch.int32, device),
        )


DEFAULT = Options()

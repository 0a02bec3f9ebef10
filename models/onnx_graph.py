"""What of a network goes into an .onnx file: bytes in, the folded or the published arithmetic, logits out."""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .fold import CPU_STEPS, fold
from .fold_tnt import fold_tnt
from .fused import FusedViT
from .fused_tnt import FusedTNT
from .networks import NormalizedNetwork
from .tnt import TNT
from .vit import ViT

Form = Literal["folded", "plain"]


def graph_of(
    network: ViT | TNT, mean: Sequence[float], std: Sequence[float], *, form: Form = "folded", dtype: torch.dtype
) -> nn.Module:
    """uint8 pixels (B, H, W, 3) -> float32 logits (B, classes), as a module that can be traced.

    Args:
        network: on the CPU; not changed.
        mean, std: of the three channels, in units of the pixel range 0..1.
        form: `folded` saves what exact algebra can on any runtime; `plain` is the network as published.
        dtype: of the weights and the arithmetic.
    """
    if form == "plain":
        return PlainGraph(network, mean, std, dtype).eval()
    if isinstance(network, TNT):
        return FoldedGraph(FusedTNT(fold_tnt(network, mean, std, CPU_STEPS, dtype=dtype))).eval()
    return FoldedGraph(FusedViT(fold(network, mean, std, CPU_STEPS, dtype=dtype))).eval()


class FoldedGraph(nn.Module):
    """The folded network; its logits in float32, whatever the arithmetic."""

    def __init__(self, fused: FusedViT) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, pixels: Tensor) -> Tensor:
        return self.fused(pixels).float()


class Answers(nn.Module):
    """Logits, and beside them `probabilities` (B, classes), or the `top_k` likeliest `scores` and their `indices`."""

    def __init__(self, network: nn.Module, *, softmax: bool, top_k: int | None) -> None:
        super().__init__()
        self.network, self.softmax, self.top_k = network, softmax, top_k

    @property
    def names(self) -> list[str]:
        """Of the outputs."""
        chosen = ["scores", "indices"] if self.top_k else []
        return ["logits", *(["probabilities"] if self.softmax else []), *chosen]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(pixels)
        probabilities = logits.softmax(dim=1)
        chosen = tuple(probabilities.topk(self.top_k, dim=1)) if self.top_k else ()
        return (logits, *((probabilities,) if self.softmax else ()), *chosen)


class PlainGraph(NormalizedNetwork[ViT | TNT]):
    """A copy of the network as published; its logits in float32, whatever the arithmetic."""

    def __init__(self, network: ViT | TNT, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> None:
        super().__init__(copy.deepcopy(network).to(dtype), mean, std)

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels).float()

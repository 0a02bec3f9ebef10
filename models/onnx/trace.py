"""What of a network goes into an .onnx file: bytes in, the folded or the published arithmetic, logits out."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..execution.folded_tnt import FusedTNT
from ..execution.folded_vit import FusedViT
from ..folding.fold_tnt import fold_tnt
from ..folding.fold_vit import CPU_STEPS, fold_vit
from ..networks.build import NormalizedNetwork
from ..networks.tnt import TNT
from ..networks.vit import ViT

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
    return FoldedGraph(FusedViT(fold_vit(network, mean, std, CPU_STEPS, dtype=dtype))).eval()


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


ATTENTION_OPSET = 23
"""From here on attention is one operator; before, it is written out."""
_LARGEST_BATCH = 4096


def trace(module: nn.Module, names: list[str], image_size: int, opset: int) -> Any:
    """The ONNX program of a module over uint8 pixels (B, H, W, 3), B free."""
    pixels = torch.randint(0, 256, (2, image_size, image_size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        program = torch.export.export(module, (pixels,), dynamic_shapes={"pixels": {0: batch}}, strict=True)
        if opset < ATTENTION_OPSET:
            program = program.run_decompositions({torch.ops.aten.scaled_dot_product_attention.default: attention})
        unstack(program.graph)
        return torch.onnx.export(
            program,
            (),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=["pixels"],
            output_names=names,
            dynamic_shapes={"pixels": {0: "batch"}},
        )


def attention(query: Tensor, key: Tensor, value: Tensor, *unused: object, scale: float | None = None) -> Tensor:
    """Attention written out. The exporter's own form copies all keys to turn them; a product turns them as it reads."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.matmul(query * factor, key.transpose(-1, -2))
    return torch.matmul(scores.softmax(dim=-1), value)


def unstack(graph: torch.fx.Graph) -> None:
    """In place: what is taken from a stack is taken from where it came, so that runtimes copy no stacks."""
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.select.int or node.args[1] != 0:
            continue
        stack = node.args[0]
        if stack.target is torch.ops.aten.stack.default and (len(stack.args) == 1 or stack.args[1] == 0):
            node.replace_all_uses_with(stack.args[0][node.args[2]])
    graph.eliminate_dead_code()

"""Tracing of a network to ONNX: uint8 pixels in, folded or plain arithmetic, float32 logits out."""

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

ATTENTION_OPSET = 23
"""First opset with an Attention operator; for earlier ones attention is decomposed."""
_MAX_BATCH_SIZE = 4096

Form = Literal["folded", "plain"]


class FoldedModule(nn.Module):
    """Folded network with float32 logits, for any dtype of the arithmetic."""

    def __init__(self, fused: FusedViT) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, pixels: Tensor) -> Tensor:
        return self.fused(pixels).float()


class PlainModule(NormalizedNetwork[ViT | TNT]):
    """Copy of the plain network with float32 logits, for any dtype of the arithmetic."""

    def __init__(self, network: ViT | TNT, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> None:
        super().__init__(copy.deepcopy(network).to(dtype), mean, std)

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels).float()


class ClassifierOutputs(nn.Module):
    """Logits and, on request, `probabilities` (B, classes) or the `top_k` highest `scores` with their `indices`."""

    def __init__(self, network: nn.Module, *, softmax: bool, top_k: int | None) -> None:
        super().__init__()
        self.network, self.softmax, self.top_k = network, softmax, top_k

    @property
    def names(self) -> list[str]:
        """Output names, in order."""
        top = ["scores", "indices"] if self.top_k else []
        return ["logits", *(["probabilities"] if self.softmax else []), *top]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(pixels)
        probabilities = logits.softmax(dim=1)
        top = tuple(probabilities.topk(self.top_k, dim=1)) if self.top_k else ()
        return (logits, *((probabilities,) if self.softmax else ()), *top)


def traceable_module(
    network: ViT | TNT, mean: Sequence[float], std: Sequence[float], *, form: Form = "folded", dtype: torch.dtype
) -> nn.Module:
    """Traceable module over uint8 pixels (B, H, W, 3) -> float32 logits (B, classes).

    Args:
        network: on the CPU; not changed.
        mean, std: per channel, in units of the pixel range 0..1.
        form: `folded` applies the folds that pay in any runtime; `plain` is the network as published.
        dtype: of weights and arithmetic.
    """
    if form == "plain":
        return PlainModule(network, mean, std, dtype).eval()
    if isinstance(network, TNT):
        return FoldedModule(FusedTNT(fold_tnt(network, mean, std, CPU_STEPS, dtype=dtype))).eval()
    return FoldedModule(FusedViT(fold_vit(network, mean, std, CPU_STEPS, dtype=dtype))).eval()


def trace(module: nn.Module, names: list[str], image_size: int, opset: int) -> Any:
    """ONNX program (`torch.onnx.ONNXProgram`) of a module over uint8 pixels (B, H, W, 3) with a dynamic batch.

    Args:
        names: of the outputs.
    """
    pixels = torch.randint(0, 256, (2, image_size, image_size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH_SIZE)
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        program = torch.export.export(module, (pixels,), dynamic_shapes={"pixels": {0: batch}}, strict=True)
        if opset < ATTENTION_OPSET:
            program = program.run_decompositions({torch.ops.aten.scaled_dot_product_attention.default: _attention})
        _remove_stacks(program.graph)
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


def _attention(query: Tensor, key: Tensor, value: Tensor, *unused: object, scale: float | None = None) -> Tensor:
    """Decomposed attention. The exporter's own form copies the keys to transpose them; a MatMul transposes on read."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.matmul(query * factor, key.transpose(-1, -2))
    return torch.matmul(scores.softmax(dim=-1), value)


def _remove_stacks(graph: torch.fx.Graph) -> None:
    """Replace, in place, each select from a stack by the stacked tensor, so that runtimes do not copy the stack."""
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.select.int or node.args[1] != 0:
            continue
        stack = node.args[0]
        if stack.target is torch.ops.aten.stack.default and (len(stack.args) == 1 or stack.args[1] == 0):
            node.replace_all_uses_with(stack.args[0][node.args[2]])
    graph.eliminate_dead_code()

"""A module over pixels -> an ONNX program, in the form that runtimes optimise best. Knows no network."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

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

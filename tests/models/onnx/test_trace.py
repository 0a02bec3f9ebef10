"""Traced graphs: keys are transposed once, stacks are removed, and the results are PyTorch's."""

import collections
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tessella.models.onnx.trace import trace


class Attend(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.float() / 255
        return F.scaled_dot_product_attention(x, x + 1, x * 2, scale=0.7)


class Stacked(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        rows = torch.stack([pixels.float() * factor for factor in (1, 2, 3)])
        return rows[0] + rows[2] - rows[-2]


def traced(module: nn.Module, file: Path, opset: int = 20) -> collections.Counter[str]:
    """Operator counts of the traced module, after a check of its result."""
    model = trace(module.eval(), ["result"], 8, opset).model
    ir.save(model, file)
    pixels = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)
    (result,) = onnxruntime.InferenceSession(file).run(None, {"pixels": pixels.numpy()})
    assert np.allclose(result, module(pixels).numpy(), atol=1e-5)
    return collections.Counter(node.op_type for node in model.graph)


def test_keys_are_transposed_once(tmp_path: Path) -> None:
    operators = traced(Attend(), tmp_path / "m.onnx")
    assert (operators["MatMul"], operators["Transpose"], operators["Reshape"]) == (2, 1, 0)


def test_attention_stays_one_operator_where_the_opset_has_it(tmp_path: Path) -> None:
    assert traced(Attend(), tmp_path / "m.onnx", opset=23)["Attention"] == 1


def test_no_stack_is_copied_to_take_its_parts(tmp_path: Path) -> None:
    operators = traced(Stacked(), tmp_path / "m.onnx")
    assert not operators.keys() & {"Concat", "Gather", "Split", "Unsqueeze"}

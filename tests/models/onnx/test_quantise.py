"""Quantisation to int8: matrix products only, none with a weight matrix per head, and the size of weights."""

from pathlib import Path

import onnx
import onnx_ir as ir

from tessella.models.execution.folded_tensors import state_arrays
from tessella.models.networks.build import build
from tessella.models.onnx.classifier_graph import classifier_model
from tessella.models.onnx.quantise import quantise, weight_bytes

from ...support.exports import VIT
from ...support.references import randomise


def model() -> ir.Model:
    return classifier_model(VIT, state_arrays(randomise(build(VIT))), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_weight_bytes_count_every_initialiser() -> None:
    values = model().graph.initializers.values()
    assert weight_bytes(model()) == sum(value.const_value.nbytes for value in values if value.const_value is not None)


def test_products_are_int8_but_those_per_head(tmp_path: Path) -> None:
    quantise(model(), tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert "MatMulInteger" in kinds
    assert "Gemm" not in kinds
    weights = {weight.name: weight.data_type for weight in graph.initializer}
    assert weights["last.key"] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.INT8 in weights.values()

"""Graph rewrites: LayerNorms in float32, names and metadata without traces of the exporter."""

import onnx_ir as ir
import pytest

from tessella.models.onnx import rewrite


def layer_norm_model(dtype: ir.DataType) -> ir.Model:
    x = ir.val("x", dtype, [2, 8])
    scale = ir.val("network_scale", dtype, [8], const_value=ir.tensor([1.0] * 8, dtype, name="network_scale"))
    norm = ir.node("LayerNormalization", [x, scale], {"axis": -1}, name="norm")
    norm.metadata_props["source"] = "vit.py:12"
    norm.outputs[0].name, norm.outputs[0].dtype, norm.outputs[0].shape = "y", dtype, x.shape
    result = ir.node("Relu", [norm.outputs[0]])
    result.outputs[0].name, result.outputs[0].dtype, result.outputs[0].shape = "z", dtype, x.shape
    graph = ir.Graph([x], result.outputs, nodes=[norm, result], initializers=[scale], opset_imports={"": 20})
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16, ir.DataType.BFLOAT16])
def test_half_precision_layer_norms_run_in_float32(dtype: ir.DataType) -> None:
    model = layer_norm_model(dtype)
    rewrite.finish(model, {})
    (norm,) = (node for node in model.graph if node.op_type == "LayerNormalization")
    assert [value.dtype for value in norm.inputs if value] == [ir.DataType.FLOAT] * 2
    (relu,) = (node for node in model.graph if node.op_type == "Relu")
    (value,) = relu.inputs
    cast = value.producer() if value is not None else None
    assert cast is not None
    assert (cast.op_type, cast.attributes["to"].as_int()) == ("Cast", dtype.value)


def test_float32_layer_norms_stay_as_they_are() -> None:
    model = layer_norm_model(ir.DataType.FLOAT)
    rewrite.finish(model, {})
    assert [node.op_type for node in model.graph] == ["LayerNormalization", "Relu"]


def test_finish_writes_metadata_and_removes_that_of_the_trace() -> None:
    model = layer_norm_model(ir.DataType.FLOAT)
    rewrite.finish(model, {"labels": "[]"})
    assert (model.producer_name, dict(model.metadata_props)) == ("tessella", {"labels": "[]"})
    assert set(model.graph.initializers) == {"scale"}
    assert not any(node.metadata_props for node in model.graph)


def test_weight_bytes_count_every_initialiser() -> None:
    assert rewrite.weight_bytes(layer_norm_model(ir.DataType.FLOAT16)) == 16

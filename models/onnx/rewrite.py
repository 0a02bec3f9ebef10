"""Rewrites of a traced ONNX graph: float32 LayerNorms, metadata, fusions, int8 quantisation."""

import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

_HALF_PRECISION = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TRACED_PREFIXES = ("L__self___", "network_", "fused_", "graph_")


def finish(model: ir.Model, metadata: Mapping[str, str]) -> None:
    """Finish a traced graph in place: LayerNorms in float32, plain names, metadata."""
    _widen_norms(model)
    _remove_trace_metadata(model)
    model.producer_name, model.producer_version = "tessella", None
    model.metadata_props.update(metadata)


def weight_bytes(model: ir.Model) -> int:
    """Size of all initialisers in bytes."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def fuse_for_onnxruntime(model: ir.Model) -> None:
    """Fuse attention and LayerNorm, in place, into ONNX Runtime's own operators, which other runtimes lack."""
    from onnxscript.rewriter import ort_fusions

    ort_fusions.optimize_for_ort(model)
    model.graph.sort()


def quantise(model: ir.Model, path: Path, *, wide_external: bool = False, external: bool = False) -> None:
    """Quantise matrix products to int8 and write the file: weights per channel, activations dynamically per batch.

    Weights use 7 bits: x86 without VNNI sums two products in 16 bits, which would saturate.

    Args:
        wide_external: float32 weights are too large for one file.
        external: int8 weights are too large for one file.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        wide = Path(folder) / "float32.onnx"
        ir.save(model, wide, external_data=f"{wide.name}.data" if wide_external else None)
        _quantise(wide, path, external)


def _quantise(wide: Path, path: Path, external: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(wide, load_external_data=False)
    del model.graph.value_info[:]  # stale shapes make the quantiser's shape inference fail
    onnx.save(model, wide)
    logging.disable(logging.WARNING)  # it recommends a pre-processing that breaks these graphs
    try:
        with warnings.catch_warnings(action="ignore"):
            quantize_dynamic(
                wide,
                path,
                use_external_data_format=external,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=_batched_products(model),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                # dtype of the outputs of ONNX Runtime's own operators
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
    finally:
        logging.disable(logging.NOTSET)


def _batched_products(model: onnx.ModelProto) -> list[str]:
    """Products with one weight matrix per head, which ONNX Runtime's int8 operator does not support."""
    stacked = {weight.name for weight in model.graph.initializer if len(weight.dims) > 2}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and not stacked.isdisjoint(node.input)]


def _widen_norms(model: ir.Model) -> None:
    """Run half-precision LayerNorms in float32: squares of large activations overflow float16."""
    for node in list(model.graph):
        kind = node.inputs[0].dtype if node.op_type == "LayerNormalization" and node.inputs[0] else None
        if kind not in _HALF_PRECISION:
            continue
        for index, value in enumerate(node.inputs):
            if value is not None:
                node.replace_input_with(index, _cast_before(model, node, value))
        _cast_after(model, node, kind)


def _cast_before(model: ir.Model, node: ir.Node, value: ir.Value) -> ir.Value:
    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value})
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, value.shape
    model.graph.insert_before(node, cast)
    return cast.outputs[0]


def _cast_after(model: ir.Model, node: ir.Node, kind: ir.DataType) -> None:
    (wide,) = node.outputs[:1]
    uses = list(wide.uses())
    cast = ir.node("Cast", [wide], {"to": kind.value})
    cast.outputs[0].dtype, cast.outputs[0].shape = kind, wide.shape
    wide.dtype = ir.DataType.FLOAT
    model.graph.insert_after(node, cast)
    for user, index in uses:
        user.replace_input_with(index, cast.outputs[0])


def _remove_trace_metadata(model: ir.Model) -> None:
    """Remove source lines, module paths and name prefixes that tracing left in the graph."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
        name = value.name or ""
        for prefix in _TRACED_PREFIXES:
            name = name.removeprefix(prefix)
        if name != value.name and name not in model.graph.initializers:
            value.name = name
